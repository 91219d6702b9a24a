"""`manage.py doctor` finds each thing that can be wrong where it really is, and nothing else."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from detection import visit
from tests.events import loop, visitor
from tests.locking import locked
from tests.public import HOST, KEY, PublicServer, run_in
from tests.server import ROOT, Server, environment, free_port, manage

# Imported by Python before anything else: a machine whose clock is off by CLOCK_OFF_S.
CLOCK_OFF = """
import os, time
off = int(os.environ.get("CLOCK_OFF_S", "0")) * 10**9
right = time.time_ns
time.time_ns = lambda: right() + off
"""
IMPORTS = "from detection.models import *; from datetime import *; from django.db.models import F;"
YOUNG = "Site.objects.update(created_at=datetime.now(UTC));"


class Elsewhere(Server):
    """A server that runs from a copy of the program, beside another."""

    def __init__(self, copy: Path, folder: Path, other: Server) -> None:
        super().__init__(folder, database_url=f"sqlite:///{other.database}")
        self._copy = copy

    def command(self) -> list[str]:
        return ["env", "-C", str(self._copy), *super().command()]


def examine(
    database: Path | str, *arguments: str, root: Path = ROOT, **extra: Any
) -> tuple[int, str]:
    """The exit code of the doctor, and what he says, in one line."""
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--no-color", *arguments],
        cwd=root,
        env=environment(database, **extra),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def wrong(said: str) -> int:
    """How many things are wrong."""
    found = re.search(r"(\d+) things? (is|are) wrong\.$", said)
    return int(found[1]) if found else 0


@pytest.fixture
def young(server: Server) -> Server:
    """A server whose site is new, so that nobody wonders why nothing has come."""
    server.wait_ready()
    run_in(server, IMPORTS + YOUNG)
    return server


def test_nothing_is_wrong_with_a_new_server(young: Server) -> None:
    for arguments in ((), ("--url", young.url)):
        code, said = examine(young.database, *arguments)
        assert said == "Nothing is wrong."
        assert code == 0


def test_nothing_is_wrong_on_the_internet(tmp_path: Path, migrated: Path) -> None:
    with PublicServer(tmp_path, migrated) as server:
        server.wait_ready()
        run_in(server, IMPORTS + YOUNG)
        server.manage("createsuperuser", "--noinput", "--username=op", "--email=o@example.org")
        public: dict[str, Any] = {
            "DEBUG": "off",
            "SECRET_KEY": KEY,
            "ALLOWED_HOSTS": f"{HOST},127.0.0.1",
        }
        code, said = examine(
            server.database, "--url", server.url, BL_RATE_LIMIT="1000/20000", **public
        )
        assert said == "Nothing is wrong."
        assert code == 0
        code, said = examine(server.database, "--url", server.url, **(public | {"SECRET_KEY": "x"}))
        assert code == 1
        assert "/metrics is answered 40" in said
        assert "the same SECRET_KEY" in said
        assert "By the way (detection.W007)" in said
        assert "By the way (detection.W009)" in said
        assert wrong(said) == 1, "what is dangerous on purpose does not count"


def test_a_proxy_that_is_not_believed(tmp_path: Path, migrated: Path) -> None:
    public: dict[str, Any] = {
        "DEBUG": "off",
        "SECRET_KEY": KEY,
        "ALLOWED_HOSTS": f"{HOST},127.0.0.1",
    }
    with Server(tmp_path, migrated, **public) as server:  # without --proxy-headers
        server.wait_ready()
        run_in(server, IMPORTS + YOUNG)
        code, said = examine(server.database, "--url", server.url, **public)
        assert code == 1
        assert "sends what comes by TLS to TLS again" in said
        assert "--proxy-headers" in said


def test_no_server_runs(young: Server) -> None:
    young.stop()
    code, said = examine(young.database, "--url", young.url)
    assert code == 1
    assert "No server runs the engine" in said
    assert "The last one was" in said
    assert f"Nothing answers at {young.url}" in said
    assert wrong(said) == 2


def test_the_url_is_that_of_something_else(young: Server) -> None:
    port = free_port()
    other = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert other.stdout
        other.stdout.readline()
        code, said = examine(young.database, "--url", f"http://127.0.0.1:{port}")
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    assert code == 1
    assert "is no BehaviourLens: /health says 404" in said
    code, said = examine(young.database, "--url", "lens.example.com")
    assert code == 1
    assert "no address like http" in said


def test_migrations_are_missing(tmp_path: Path) -> None:
    database = tmp_path / "old.sqlite3"
    manage(database, "migrate", "--verbosity", "0", "detection", "0004")
    code, said = examine(database)
    assert code == 1
    assert "of the migrations of this version" in said
    assert "manage.py migrate" in said
    assert wrong(said) == 1, "and tables that are not there are not asked"


def test_the_database_is_away() -> None:
    code, said = examine("postgres://nobody@127.0.0.1:1/none")
    assert code == 1
    assert "The database does not answer" in said


def test_what_was_refused_at_the_door(young: Server) -> None:
    code = """
now = datetime.now(UTC)
site = Site.objects.get(pk=1)
def put(code, sender, age, site=None):
    at = now - timedelta(minutes=age)
    RefusedSender.objects.create(
        site=site, code=code, sender=sender, count=1200, first_at=at, last_at=at)
put("origin", "https://new.example", 5, site)
put("origin", "https://long-ago.example", 61, site)
put("unknown_key", "", 5)
put("unknown_key", "abcdef", 5)
"""
    run_in(young, IMPORTS + code)
    status, said = examine(young.database)
    assert status == 1
    assert "Events from https://new.example are refused for Default site" in said
    assert "1,200 times since" in said
    assert "Events come without a write key" in said
    assert "it begins with abcdef" in said
    assert "long-ago" not in said
    assert wrong(said) == 3


def test_a_site_is_silent(young: Server) -> None:
    day = "Site.objects.update(created_at=F('created_at') - timedelta(hours=25));"
    run_in(young, IMPORTS + day)
    code, said = examine(young.database)
    assert code == 1
    assert "No event has come from Default site for 24 hours; none is kept." in said
    assert young.post(loop(visitor()))[0] == 202
    assert examine(young.database)[0] == 0
    ago = "JournalEntry.objects.update(arrival=F('arrival') - 25*3600*1000)"
    run_in(young, IMPORTS + ago)
    code, said = examine(young.database)
    assert "24 hours; the last came 20" in said
    assert wrong(said) == 1


def test_tokens_near_their_end(young: Server) -> None:
    code = """
from django.contrib.auth.models import User
user = User.objects.create_user("robot")
for days in (-8, -6, 6, 8):
    token = ApiToken(name=f"{days} days", user=user, expires_at=datetime.now(UTC) +
        timedelta(days=days))
    token.set_token(f"bl_{days}-secret-part-of-it")
    token.save()
"""
    run_in(young, IMPORTS + code)
    status, said = examine(young.database)
    assert status == 1
    assert "“-6 days” (" in said
    assert "has expired: 20" in said
    assert "“6 days” (" in said
    assert wrong(said) == 2
    assert "secret-part-of-it" not in said


# --- clocks -------------------------------------------------------------------------------


@pytest.fixture
def off(tmp_path: Path) -> dict[str, Any]:
    """What puts a process's clock an hour ahead."""
    folder = tmp_path / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CLOCK_OFF)
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "CLOCK_OFF_S": "3600"}


def test_the_engine_is_ahead(tmp_path: Path, migrated: Path, off: dict[str, Any]) -> None:
    with Server(tmp_path, migrated, **off) as server:
        server.wait_ready()
        assert server.post(loop(visitor()))[0] == 202
        code, said = examine(server.database, "--url", server.url)
    assert code == 1
    (newest,) = re.findall(r"The newest event came (\d+) s in the future", said)
    (clock,) = re.findall(r"The server's clock is (\d+) s ahead of this machine's", said)
    assert 3500 < int(newest) <= 3600
    assert 3500 < int(clock) <= 3600


def test_the_databases_clock(postgres_url: str, off: dict[str, Any]) -> None:
    assert "The database's clock" not in examine(postgres_url)[1]
    code, said = examine(postgres_url, **off)
    assert code == 1
    assert re.search(r"The database's clock is 3(600|599) s behind this machine's", said)


# --- the pipeline -------------------------------------------------------------------------


def test_the_owner_has_fallen_silent(young: Server) -> None:
    """A server that is stopped by a signal keeps its lease, and says nothing any more."""
    assert young.process
    young.process.send_signal(signal.SIGSTOP)
    try:
        run_in(young, IMPORTS + "Owner.objects.update(alive_at=F('alive_at') - timedelta(hours=1))")
        code, said = examine(young.database)
    finally:
        young.process.send_signal(signal.SIGCONT)
    assert code == 1
    assert "holds the engine, and has written nothing since 20" in said
    assert wrong(said) == 1


def test_snapshots_no_longer_follow(young: Server) -> None:
    for _ in range(2):
        assert young.post(loop(visitor()))[0] == 202
    assert examine(young.database)[0] == 0
    run_in(
        young,
        IMPORTS + "first = JournalEntry.objects.filter(kind=1).earliest('position');"
        "JournalEntry.objects.filter(position__lte=first.position)"
        ".update(arrival=F('arrival') - 3600000)",
    )
    code, said = examine(young.database)
    assert code == 1
    assert "No snapshot holds what has come since" in said
    young.stop()  # and with it a snapshot of everything
    assert "No snapshot" not in examine(young.database)[1]


def test_the_database_refuses(young: Server) -> None:
    with locked(young.database):
        assert young.post(loop(visitor()))[0] == 503
        young.wait_for("/health", lambda told: told["status"] == "degraded")
        code, said = examine(young.database, "--url", young.url)
    assert code == 1
    assert "The server says: The database refuses to write" in said


SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END';
CREATE TRIGGER slow AFTER INSERT ON detection_journalentry
    FOR EACH STATEMENT EXECUTE FUNCTION slow();
"""


def test_the_pipeline_is_behind(tmp_path: Path, postgres_url: str, settings: Any) -> None:
    """The disk of the database is so slow that every commit takes a second and a half."""
    settings.DEBUG = True
    with Server(tmp_path, database_url=postgres_url) as server, ThreadPoolExecutor(60) as pool:
        server.wait_ready()
        with psycopg.connect(postgres_url) as other:
            other.execute(SLOW)
        said: list[str] = []
        deadline = time.monotonic() + 30
        while not any("pipeline is behind" in one for one in said):
            assert time.monotonic() < deadline, said
            pool.submit(server.post, loop(visitor()))
            said = [finding.wrong for finding in visit.findings(server.url)]
    (lag,) = re.findall(r"the oldest batch has waited ([0-9.]+) s", " ".join(said))
    assert float(lag) >= visit.LAG_S


# --- the machine --------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        if os.environ.get("BL_REQUIRE_FAULTS") == "1":
            pytest.fail("no small disk can be mounted here")
        pytest.skip("no small disk can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_the_disk_is_nearly_full(small_disk: Path, migrated: Path) -> None:
    database = small_disk / "db.sqlite3"
    shutil.copy(migrated, database)
    assert "nearly full" not in examine(database)[1]
    room = shutil.disk_usage(small_disk)
    (small_disk / "filler").write_bytes(b"\0" * (room.free - room.total // 25))
    code, said = examine(database)
    assert code == 1
    assert f"The disk of the database ({small_disk}) is nearly full" in said
    assert "of 42 MB are free" in said


def test_files_are_missing(tmp_path: Path, young: Server) -> None:
    copy = tmp_path / "copy"
    left = shutil.ignore_patterns("static", "lens.js", "var", ".git", "tests", ".venv")
    shutil.copytree(ROOT, copy, ignore=left)
    code, said = examine(young.database, root=copy)
    assert code == 1
    assert "Static files are missing: dashboard/dashboard.css" in said
    assert "lens.js" in said
    assert wrong(said) == 1
    young.stop()
    with Elsewhere(copy, tmp_path, young) as server:
        code, said = examine(young.database, "--url", server.url)
    assert "/lens.js is answered 500" in said
    assert "/static/dashboard/dashboard.css is answered 404" in said
