"""The system checks: silent on a default machine, and clear where something is amiss."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.checks import Tags, run_checks

from detection import checks
from detection.lease import FileLease, owner_name
from tests.leasing import Process
from tests.server import ROOT, Server, environment

pytestmark = pytest.mark.django_db(transaction=True)


def found(databases: list[str] | None = None) -> dict[str, Any]:
    """Our messages by id, as `check --database` finds them."""
    messages = run_checks(tags=[Tags.database], databases=databases or ["default"])
    return {str(m.id): m for m in messages if str(m.id).startswith("detection.")}


def command(*arguments: str, url: str, **extra: str) -> str:
    """What a command says. It succeeds."""
    environ = environment(Path("unused"), **extra) | {"DATABASE_URL": url}
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(autouse=True)
def _local(settings: LazySettings) -> None:
    """A default machine: open, to itself."""
    settings.DEBUG = True


def test_a_default_machine_is_told_nothing() -> None:
    assert found() == {}


def test_a_check_of_no_database_asks_none(settings: LazySettings) -> None:
    settings.BL_JOURNAL = False
    lease = FileLease()
    lease.acquire()
    try:
        ours = [m for m in run_checks() if str(m.id).startswith("detection.")]
        assert ours == []
        assert set(found()) == {"detection.W001", "detection.W002"}
    finally:
        lease.release()


# --- W001 -------------------------------------------------------------------------------


def test_another_owner_is_named() -> None:
    lease = FileLease()
    lease.acquire()
    lease.announce()
    try:
        message = found()["detection.W001"]
    finally:
        lease.release()
    assert owner_name() in message.msg
    assert " since 20" in message.msg
    for words in ("503", "waits", "rolling restart (docs/operations.md)", "stop one"):
        assert words in message.hint
    assert found() == {}, "it has been let go"


def test_an_owner_without_a_name_is_told_as_well() -> None:
    lease = FileLease()
    lease.acquire()
    try:
        assert "has not said its name" in found()["detection.W001"].msg
    finally:
        lease.release()


def test_the_check_of_an_owner_takes_nothing_away() -> None:
    lease = FileLease()
    found()
    assert lease.acquire()
    found()
    assert lease.held()
    lease.release()


def test_a_server_is_found_by_commands_in_other_processes(server: Server) -> None:
    url = f"sqlite:///{server.database}"
    server.wait_for("/ready", lambda answer: answer["checks"]["owner"])
    said = command("check", "--database", "default", url=url)
    assert "detection.W001" in said
    assert f"pid {server.process.pid} since 20" in said
    assert "detection.W001" in command("migrate", url=url)
    assert "detection." not in command("check", "--fail-level", "WARNING", url=url)
    server.stop()
    silent = command("check", "--database", "default", "--fail-level", "WARNING", url=url)
    assert "detection." not in silent


def test_on_postgresql_too(postgres_url: str) -> None:
    arguments = ("check", "--database", "default")
    with Process(postgres_url) as process:
        process.say("acquire")
        process.say("announce")
        said = command(*arguments, url=postgres_url)
        assert "detection.W001" in said
        assert process.say("name") in said
        assert process.say("held") == "True"
        process.say("release")
        assert "detection." not in command(*arguments, url=postgres_url)


def test_a_database_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    absent = tmp_path / "absent.sqlite3"
    command("check", "--database", "default", url=f"sqlite:///{absent}")
    assert not list(tmp_path.glob("*.owner"))
    with Process(f"sqlite:///{absent}") as process:  # no table in it yet
        process.say("acquire")
        said = command("check", "--database", "default", url=f"sqlite:///{absent}")
    assert "has not said its name" in said


def test_a_database_that_does_not_answer_is_no_trouble_of_ours() -> None:
    script = (
        "import django; django.setup(); from detection import checks;"
        "print(checks.one_owner(databases=['default']), checks.local_file(databases=['default']))"
    )
    environ = environment(Path("unused")) | {
        "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
        "DJANGO_SETTINGS_MODULE": "behaviourlens.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environ, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[] []", done.stderr


# --- W002 and W004 ----------------------------------------------------------------------


def test_a_journal_that_is_off_is_told(settings: LazySettings) -> None:
    settings.BL_JOURNAL = False
    settings.BL_JOURNAL_MAX_MB = 1  # of what is not kept
    messages = found()
    assert set(messages) == {"detection.W002"}
    assert "in memory only" in messages["detection.W002"].msg
    assert "BL_JOURNAL=on" in messages["detection.W002"].hint


def test_a_journal_that_holds_too_little_is_told(settings: LazySettings) -> None:
    settings.BL_JOURNAL_MAX_MB = 64
    assert found() == {}
    settings.BL_JOURNAL_MAX_MB = 63
    messages = found()
    assert set(messages) == {"detection.W004"}
    assert "BL_JOURNAL_MAX_MB is 63" in messages["detection.W004"].msg
    assert "64" in messages["detection.W004"].hint


# --- W003 -------------------------------------------------------------------------------

MOUNTS_LINES = (
    "/dev/sda1 / ext4 rw,relatime 0 0",
    "proc /proc proc rw 0 0",
    r"files:/export /mnt/our\040files nfs4 rw,vers=4.2 0 0",
    "/dev/sdb1 /mnt/our\\040files/local xfs rw 0 0",
    "//server/share /srv/größe cifs rw 0 0",
    "files:/b /data nfs rw 0 0",
    "/dev/sdc1 /data ext4 rw 0 0",
)


@pytest.mark.parametrize(
    ("path", "system"),
    [
        ("/var/lib/behaviourlens/db.sqlite3", "ext4"),
        ("/mnt/our files/db.sqlite3", "nfs4"),
        ("/mnt/our files/local/db.sqlite3", "xfs"),
        ("/mnt/our files2/db.sqlite3", "ext4"),
        ("/srv/größe/db.sqlite3", "cifs"),
        ("/data/db.sqlite3", "ext4"),  # mounted over
    ],
)
def test_the_file_system_of_a_path(path: str, system: str) -> None:
    assert checks.file_system(Path(path), MOUNTS_LINES) == system


def test_where_nothing_is_mounted_nothing_is_told() -> None:
    assert checks.file_system(Path("/data/db.sqlite3"), []) == ""


def test_sqlite_on_a_network_file_system_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    monkeypatch.setattr(checks, "MOUNTS", mounts)
    assert found() == {}, "a machine that does not tell is no trouble"
    mounts.write_text("/dev/sda1 / ext4 rw 0 0\n")
    assert found() == {}
    mounts.write_text("files:/export / nfs4 rw 0 0\n")
    messages = found()
    assert set(messages) == {"detection.W003"}
    assert "network file system (nfs4)" in messages["detection.W003"].msg
    assert "PostgreSQL" in messages["detection.W003"].hint
    mounts.write_text("a line that says nothing\n")
    assert found() == {}
