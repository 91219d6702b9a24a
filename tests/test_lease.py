"""One owner per database: real processes on one real database, SQLite and PostgreSQL."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from detection import lease
from detection.lease import FileLease, LeaseTrouble
from detection.models import Owner
from tests import postgres as pg
from tests.leasing import Process, until


@pytest.fixture
def sqlite_url(tmp_path: Path, migrated: Path) -> str:
    database = tmp_path / "db.sqlite3"
    database.write_bytes(migrated.read_bytes())
    return f"sqlite:///{database}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def two(url: str) -> Iterator[tuple[Process, Process]]:
    with Process(url) as first, Process(url) as second:
        yield first, second


# --- both databases ---------------------------------------------------------------------


def test_the_second_waits_for_the_first(two: tuple[Process, Process]) -> None:
    first, second = two
    assert first.say("taken") == "False"
    assert first.say("acquire") == "True"
    assert second.say("acquire") == "False"
    assert second.say("held") == "False"
    assert second.say("taken") == "True"
    assert first.say("release") == "None"
    assert first.say("held") == "False"
    assert second.say("acquire") == "True"
    assert first.say("acquire") == "False"


def test_to_acquire_again_changes_nothing(two: tuple[Process, Process]) -> None:
    first, second = two
    assert [first.say("acquire") for _ in range(3)] == ["True"] * 3
    first.say("release")  # once
    assert second.say("acquire") == "True"


def test_the_second_is_answered_at_once(two: tuple[Process, Process]) -> None:
    first, second = two
    first.say("acquire")
    second.say("acquire")  # connects
    began = time.monotonic()
    second.say("acquire")
    assert time.monotonic() - began < 1


def test_a_killed_process_leaves_it_at_once(two: tuple[Process, Process]) -> None:
    first, second = two
    first.say("acquire")
    assert second.say("acquire") == "False"
    first.kill()
    until(lambda: second.say("acquire") == "True")


def test_a_process_that_ends_leaves_it(two: tuple[Process, Process]) -> None:
    first, second = two
    first.say("acquire")
    first.end()
    until(lambda: second.say("acquire") == "True")


@pytest.mark.parametrize("verb", ["fork", "start"])
def test_a_child_does_not_keep_it(two: tuple[Process, Process], verb: str) -> None:
    first, second = two
    first.say("acquire")
    first.have(verb)
    assert first.say("held") == "True"
    assert second.say("acquire") == "False"
    first.kill()
    until(lambda: second.say("acquire") == "True")


def test_a_child_does_not_hold_it_and_its_end_takes_nothing(
    two: tuple[Process, Process],
) -> None:
    first, second = two
    first.say("acquire")
    assert first.say("child_holds") == "False"
    assert first.say("held") == "True"
    assert first.say("announce") == "None"
    assert second.say("acquire") == "False"


def test_the_owner_announces_itself(two: tuple[Process, Process]) -> None:
    first, second = two
    assert second.say("holder") == ""
    first.say("acquire")
    assert first.say("announce") == "None"
    said = second.say("holder")
    assert said.startswith(f"{first.say('name')} since 20")
    assert said.endswith(" UTC")
    assert "pid" in said
    first.kill()
    until(lambda: second.say("acquire") == "True")
    second.say("announce")
    assert second.say("holder").startswith(f"{second.say('name')} since 20")


def test_nobody_announces_what_they_do_not_hold(two: tuple[Process, Process]) -> None:
    first, second = two
    first.say("acquire")
    first.say("announce")
    assert second.say("announce").startswith("LeaseTrouble")
    assert second.say("holder").startswith(first.say("name"))


def test_the_holder_of_a_database_without_tables_is_unknown(
    tmp_path: Path,
) -> None:
    with Process(f"sqlite:///{tmp_path}/empty.sqlite3") as process:
        assert process.say("holder") == ""
        assert process.say("acquire") == "True"
        assert process.say("announce").startswith("OperationalError: no such table")


# --- SQLite -----------------------------------------------------------------------------


def test_one_database_under_several_names_has_one_owner(tmp_path: Path, sqlite_url: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link.sqlite3").symlink_to(tmp_path / "db.sqlite3")
    (tmp_path / "folder").symlink_to(tmp_path, target_is_directory=True)
    with Process(sqlite_url) as first:
        first.say("acquire")
        names = (
            f"sqlite:///{tmp_path}/elsewhere/link.sqlite3",
            f"sqlite:///{tmp_path}/folder/db.sqlite3",
            "sqlite:///db.sqlite3",
        )
        for name in names:
            with Process(name, cwd=tmp_path) as second:
                assert second.say("acquire") == "False", name


def test_databases_beside_each_other_have_owners_of_their_own(
    tmp_path: Path, sqlite_url: str
) -> None:
    with Process(sqlite_url) as first, Process(f"sqlite:///{tmp_path}/b.sqlite3") as second:
        assert first.say("acquire") == "True"
        assert second.say("acquire") == "True"


def test_whoever_removes_the_file_is_noticed(tmp_path: Path, sqlite_url: str) -> None:
    with Process(sqlite_url) as first, Process(sqlite_url) as second:
        first.say("acquire")
        (tmp_path / "db.sqlite3.owner").unlink()
        assert first.say("held") == "False"
        assert first.say("acquire") == "True"
        assert second.say("acquire") == "False"
        (tmp_path / "db.sqlite3.owner").unlink()
        assert second.say("acquire") == "True"
        assert first.say("held") == "False"
        assert first.say("acquire") == "False"


def test_a_link_in_the_files_place_is_not_followed(tmp_path: Path, sqlite_url: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "db.sqlite3.owner").symlink_to(precious)
    with Process(sqlite_url) as process:
        said = process.say("acquire")
        assert said.startswith(f"LeaseTrouble: the file {tmp_path}/db.sqlite3.owner cannot be")
        assert process.say("taken") == "False"
    assert precious.read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, sqlite_url: str) -> None:
    file = tmp_path / "db.sqlite3.owner"
    with Process(sqlite_url, **_powerless()) as process:
        tmp_path.chmod(0o555)
        try:
            said = process.say("acquire")
        finally:
            tmp_path.chmod(0o755)
        assert said == f"LeaseTrouble: the file {file} cannot be locked: Permission denied"


def _powerless() -> dict[str, Any]:
    """Options of a process that permissions bind: root's privileges are dropped, its id stays."""
    if os.geteuid() != 0:
        return {}

    def drop() -> None:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        drop_bound, override = 24, (1, 2)  # PR_CAPBSET_DROP of the two that pass over permissions
        for capability in override:
            if libc.prctl(drop_bound, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "the capability stays")

    return {"preexec_fn": drop}


@pytest.mark.django_db(transaction=True)
def test_the_owners_row_is_one_and_tells_it_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1_000, 2_000, 9_000])
    monkeypatch.setattr(lease, "now_ms", lambda: next(clock))
    owner = FileLease()
    assert owner.acquire()
    try:
        owner.announce()
        first = Owner.objects.get()
        owner.announce()
        second = Owner.objects.get()
    finally:
        owner.release()
    assert first.name == second.name == lease.owner_name()
    assert first.since == second.since
    assert first.since.timestamp() == 1
    assert [first.alive_at.timestamp(), second.alive_at.timestamp()] == [2, 9]


@pytest.mark.django_db(transaction=True)
def test_trouble_with_the_lease_counts_as_trouble_with_the_database() -> None:
    with pytest.raises(OperationalError) as caught:
        FileLease().announce()
    assert caught.type is LeaseTrouble


# --- PostgreSQL -------------------------------------------------------------------------


def test_a_session_that_is_ended_has_lost_it_without_asking(
    postgres: pg.Postgres, postgres_url: str
) -> None:
    with Process(postgres_url) as first, Process(postgres_url) as second:
        first.say("acquire")
        second.say("acquire")
        session = int(first.say("session"))
        with postgres.admin() as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", [session])
        until(lambda: not Path(f"/proc/{session}").exists())
        assert first.say("held") == "False"
        assert second.say("acquire") == "True"
        assert first.say("announce").startswith("LeaseTrouble")
        assert first.say("acquire") == "False"
        second.say("release")
        assert first.say("acquire") == "True"
        assert first.say("announce") == "None"


def test_a_connection_that_is_closed_has_lost_it(postgres_url: str) -> None:
    with Process(postgres_url) as first, Process(postgres_url) as second:
        first.say("acquire")
        first.say("close")
        assert first.say("held") == "False"
        until(lambda: second.say("acquire") == "True")
        assert first.say("acquire") == "False"
        assert first.say("held") == "False"  # though it is connected again


def test_a_session_takes_it_once(postgres_url: str) -> None:
    with Process(postgres_url) as process:
        for _ in range(3):
            process.say("acquire")
        assert process.say("locks") == "1"
        assert process.say("unlock_all") == "True"
        assert process.say("locks") == "0"


def test_two_databases_of_one_server_have_owners_of_their_own(
    postgres: pg.Postgres, postgres_template: str, postgres_url: str
) -> None:
    other = postgres.database(template=postgres_template)
    with Process(postgres_url) as first, Process(other) as second:
        assert first.say("acquire") == "True"
        assert second.say("taken") == "False"
        assert second.say("acquire") == "True"


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_of_postgresql_gives_it_to_whoever_comes_first(
    postgres: pg.Postgres, mode: str
) -> None:
    with (
        pg.Postgres() as cluster,
        Process(cluster.url) as first,
        Process(cluster.url) as second,
    ):
        assert first.say("acquire") == "True"
        cluster.stop(mode)
        until(lambda: first.say("held") == "False")
        assert first.say("acquire").startswith("OperationalError")
        assert first.say("release") == "None"
        assert first.say("holder") == ""
        cluster.start()
        assert second.say("acquire") == "True"
        assert first.say("acquire") == "False"
