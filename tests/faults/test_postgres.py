"""PostgreSQL stopped, crashed, frozen, and cutting every session, under load."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Record
from tests.faults.ledger import Ledger
from tests.faults.outage import REFUSES, goes_through, is_well
from tests.postgres import ROLE, Postgres, demand
from tests.server import Server, manage
from tests.traffic import Traffic

GONE_S = 3.0
FROZEN_S = 5.0


@pytest.fixture
def cluster() -> Iterator[Postgres]:
    """One of the test's own, since it comes to harm."""
    demand()
    with Postgres() as own:
        manage(own.url, "migrate", "--verbosity", "0")
        yield own


@pytest.fixture
def server(cluster: Postgres, tmp_path: Path) -> Server:
    return Server(tmp_path, None, database_url=cluster.url, BL_LEAVE_GRACE="2")


@contextlib.contextmanager
def gone(cluster: Postgres, mode: str) -> Iterator[None]:
    cluster.stop(mode)
    yield
    cluster.start()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_stopped_and_started(cluster: Postgres, server: Server, record: Record, mode: str) -> None:
    times = 2
    with server, Traffic(server, careless=0.05, nameless=0.05) as traffic:
        ledger = Ledger(cluster.url)
        recovery = [
            goes_through(server, traffic, ledger, gone(cluster, mode), GONE_S) for _ in range(times)
        ]
        traffic.stop()
        ledger.settle(traffic, server)
        assert server.stop() == 0
    record(f"PostgreSQL stopped ({mode})", times, ledger, traffic, recovery)


def test_frozen(cluster: Postgres, server: Server, record: Record) -> None:
    """It takes no connection and answers none, and nothing says so: then nothing is accepted."""
    with server, Traffic(server, careless=0.05, nameless=0.05) as traffic:
        ledger = Ledger(cluster.url)
        traffic.wait_for(30)
        said = server.said_so_far()
        cluster.pause()
        try:
            time.sleep(0.5)  # an answer that was on its way
            accepted = len(traffic.accepted)
            time.sleep(FROZEN_S)
            assert len(traffic.accepted) == accepted
            began = time.monotonic()
            assert server.get("/health")["status"] in {"ok", "degraded"}
            assert time.monotonic() - began < 1.0
        finally:
            cluster.resume()
        took = is_well(server)
        traffic.wait_for(30)
        ledger.check(traffic)
        assert server.said(said).count(REFUSES) <= 1
        traffic.stop()
        ledger.settle(traffic, server)
        assert server.stop() == 0
    record("PostgreSQL frozen", 1, ledger, traffic, [took])


def test_every_session_ended(cluster: Postgres, server: Server, record: Record) -> None:
    times = 5
    recovery: list[float] = []
    with server, Traffic(server, careless=0.05, nameless=0.05) as traffic:
        ledger = Ledger(cluster.url)
        for _ in range(times):
            traffic.wait_for(30)
            said = server.said_so_far()
            assert cluster.terminate(ROLE) >= 2, "nobody was connected"
            recovery.append(is_well(server))
            traffic.wait_for(30)
            ledger.check(traffic)
            # Each of the two that write finds out by itself, perhaps one after the other.
            assert server.said(said).count(REFUSES) <= 2
        traffic.stop()
        ledger.settle(traffic, server)
        assert server.stop() == 0
        assert "Traceback" not in server.said()
    record("PostgreSQL's sessions ended", times, ledger, traffic, recovery)
