"""Two servers on one database: one runs the engine, the other waits and takes over."""

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import MakeServer, Record
from tests.faults.follower import Follower
from tests.faults.ledger import Ledger
from tests.faults.outage import probe
from tests.server import Server
from tests.traffic import Traffic

RUN_BY = "The engine of this database is run by"


def waits(server: Server) -> None:
    """It says that it is not the one, and shows everything else."""
    assert not server.ready()
    status, answer, _ = probe(server)
    assert (status, answer["error"]["code"]) == (503, "standby"), answer
    assert server.request("GET", "/api/patterns")[0] == 200
    assert server.request("GET", "/")[0] == 200


class Watch:
    """Asks two servers all the time whether they are ready; a context manager.

    both: how often one was ready, and the other between two times that it was.
    """

    def __init__(self, one: Server, other: Server) -> None:
        self.asked = 0
        self.both = 0
        self._servers = (one, other)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ending.set()
        self._thread.join(30)

    def _run(self) -> None:
        one, other = self._servers
        while not self._ending.wait(0.05):
            self.asked += 1
            self.both += all(map(self._ready, (one, other, one)))

    @staticmethod
    def _ready(server: Server) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return server.ready()
        return False


@contextlib.contextmanager
def two(make_server: MakeServer, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """One that serves and one that waits."""
    with make_server(BL_LEAVE_GRACE="2") as first:
        second = first.beside(tmp_path / "second")
        try:
            second.start_waiting()
            yield first, second
        finally:
            second.stop()


def test_the_second_waits_and_takes_over(
    make_server: MakeServer, tmp_path: Path, record: Record, request: pytest.FixtureRequest
) -> None:
    kind = request.node.callspec.params["make_server"]
    with contextlib.ExitStack() as stack:
        first, second = stack.enter_context(two(make_server, tmp_path))
        ledger = Ledger(first.target)
        watch = stack.enter_context(Watch(first, second))
        traffic = stack.enter_context(Traffic(first, second, careless=0.05, nameless=0.05))
        follower = stack.enter_context(Follower(first.url, second.url))
        traffic.wait_for(200)
        waits(second)
        assert second.said().count(RUN_BY) == 1, second.said()
        assert "Service Unavailable" not in second.said(), "every question of /ready is an error"
        first.kill()
        took = second.wait_ready(15)
        traffic.wait_for(200)
        ledger.check(traffic)
        traffic.stop()
        ledger.settle(traffic, second)
        follower.check(ledger.database.newest_change())
        assert second.stop() == 0
        assert watch.asked
        assert not watch.both
    assert "Traceback" not in second.said()
    record(f"owner killed, another waits, {kind}", 1, ledger, traffic, [took])


def test_restarts_one_after_the_other(
    make_server: MakeServer, tmp_path: Path, record: Record, request: pytest.FixtureRequest
) -> None:
    kind = request.node.callspec.params["make_server"]
    times = 3
    recovery: list[float] = []
    with contextlib.ExitStack() as stack:
        serving, waiting = stack.enter_context(two(make_server, tmp_path))
        ledger = Ledger(serving.target)
        watch = stack.enter_context(Watch(serving, waiting))
        traffic = stack.enter_context(Traffic(serving, waiting, careless=0.05, nameless=0.05))
        follower = stack.enter_context(Follower(serving.url, waiting.url))
        for _ in range(times):
            traffic.wait_for(100)
            began = time.monotonic()
            assert serving.stop() == 0
            waiting.wait_ready(15)
            recovery.append(time.monotonic() - began)
            traffic.wait_for(100)
            ledger.check(traffic)
            serving, waiting = waiting, serving
            waiting.start_waiting()
            waits(waiting)
        traffic.stop()
        ledger.settle(traffic, serving)
        follower.check(ledger.database.newest_change())
        assert watch.asked
        assert not watch.both
    for server in (serving, waiting):
        assert "Traceback" not in server.said()
    record(f"restart with another waiting, {kind}", times, ledger, traffic, recovery)


@pytest.mark.parametrize("make_server", ["sqlite"], indirect=True)
def test_the_check_names_who_runs_the_engine(make_server: MakeServer) -> None:
    with make_server() as server:
        done = server.manage("check", "--database", "default")
        assert server.process is not None
        assert str(server.process.pid) in done.stdout + done.stderr
        assert server.stop() == 0
        done = server.manage("check", "--database", "default")
        assert str(server.process.pid) not in done.stdout + done.stderr
