"""SQLite on a disk that is full, and behind another process's lock."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Record
from tests.faults.ledger import Ledger
from tests.faults.outage import goes_through, is_degraded, is_well, refuses, said_once
from tests.server import Server
from tests.traffic import Traffic

SIZE_MB = 24
LOCKED_S = 8.0
HOLD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
database.execute(f"BEGIN {sys.argv[2]}")
print("held", flush=True)
sys.stdin.read()
database.execute("ROLLBACK")
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of SIZE_MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = f"no small disk can be mounted here: {getattr(error, 'stderr', '') or error}"
        if os.environ.get("BL_REQUIRE_FAULTS") == "1":
            pytest.fail(why)
        pytest.skip(why)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Not a byte is free, until the end."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(b"\0" * 4096)
    yield
    filler.unlink()


@contextlib.contextmanager
def locked(database: Path, how: str) -> Iterator[None]:
    """Another process writes to the database, and takes its time."""
    command = [sys.executable, "-c", HOLD, str(database), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.communicate()
    assert holder.returncode == 0


def test_a_full_disk(disk: Path, tmp_path: Path, migrated: Path, record: Record) -> None:
    shutil.copy(migrated, disk / "db.sqlite3")
    url = f"sqlite:///{disk / 'db.sqlite3'}"
    server = Server(tmp_path, None, database_url=url, BL_LEAVE_GRACE="2")
    recovery: list[float] = []
    times = 3
    with server, Traffic(server, careless=0.05, nameless=0.05) as traffic:
        ledger = Ledger(server.target)
        for _ in range(times):
            traffic.wait_for(50)
            said = server.said_so_far()
            with filled(disk):
                # The log of SQLite has some room of its own, so it goes on for a moment.
                is_degraded(server, 30)
                refused = traffic.refusals["database"]
                refuses(server)
                wait_for_refusals(traffic, refused + 10)
                refuses(server)
            recovery.append(is_well(server))
            traffic.wait_for(50)
            ledger.check(traffic)
            said_once(server, said)
        traffic.stop()
        ledger.settle(traffic, server)
        assert server.stop() == 0
    record("disk full", times, ledger, traffic, recovery)


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_locked_database(tmp_path: Path, migrated: Path, record: Record, how: str) -> None:
    server = Server(tmp_path, migrated, BL_LEAVE_GRACE="2")
    with server, Traffic(server, careless=0.05, nameless=0.05) as traffic:
        ledger = Ledger(server.target)
        took = goes_through(server, traffic, ledger, locked(server.database, how), LOCKED_S)
        traffic.stop()
        ledger.settle(traffic, server)
        assert server.stop() == 0
    record(f"locked ({how.lower()}), sqlite", 1, ledger, traffic, [took])


def wait_for_refusals(traffic: Traffic, count: int, timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while traffic.refusals["database"] < count:
        assert time.monotonic() < deadline, traffic.statuses
        time.sleep(0.02)
