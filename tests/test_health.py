"""/health and /ready: what a supervisor and a load balancer are told, also when things go wrong."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.test import Client

from detection.backpressure import AT_ONCE
from detection.condition import FULL, condition
from detection.outbox import Outbox
from detection.pipeline import Pipeline, State
from detection.queueing import MOST_BYTES
from detection.runtime import Runtime, Status
from tests import events
from tests.locking import locked
from tests.server import Server

CHECKS = {"recovered": True, "owner": True, "database": True, "queue": True}


@pytest.fixture
def runtime() -> Runtime:
    """This process's own, which has not been started."""
    found: Runtime = apps.get_app_config("detection").runtime
    return found


@pytest.fixture
def serving(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `runtime.status()` says: all is well, unless a test puts something else in here."""
    said: dict[str, Any] = {"state": State.RUNNING, "owner": "", "database": "", "alive": True}
    monkeypatch.setattr(runtime, "status", lambda: Status(**said))
    return said


def ready(server: Server) -> tuple[int, dict[str, Any]]:
    status, _, body = server.request("GET", "/ready")
    return status, json.loads(body)


def wait_until_ready(server: Server, wanted: int = 200, timeout: float = 30.0) -> dict[str, Any]:
    """The answer of /ready, once it has the status."""
    deadline = time.monotonic() + timeout
    while True:
        status, said = ready(server)
        if status == wanted:
            return said
        assert time.monotonic() < deadline, f"/ready never became {wanted}; it says {said}"
        time.sleep(0.05)


# --- all is well --------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_a_server_that_is_well(server: Server, path: str) -> None:
    status, headers, body = server.request("GET", path)
    assert status == 200
    assert headers["content-type"].startswith("application/json")
    said = json.loads(body)
    if path == "/health":
        assert list(said) == ["status", "timestamp"], "the contract of these two, and no more"
        assert said["status"] == "ok"
        assert abs(said["timestamp"] / 1000 - time.time()) < 10
    else:
        assert said == {"status": "ready", "checks": CHECKS}
    status, headers, body = server.request("HEAD", path)
    assert (status, body) == (200, b"")


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_neither_asks_for_a_login_nor_for_the_database(
    client: Client, serving: dict[str, Any], settings: Any, path: str
) -> None:
    """A test without a database fails where one is asked."""
    settings.DEBUG = False
    client.cookies["bl_session"] = "whatever"
    assert client.get(path).status_code == 200


# --- all is not well ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("put", "wrong", "words"),
    [
        ({"state": State.IDLE}, {"recovered", "owner"}, "not been started"),
        ({"state": State.WAITING}, {"recovered", "owner"}, "Another process"),
        ({"state": State.RECOVERING}, {"recovered"}, "read again"),
        ({"state": State.ENDED}, {"recovered", "owner"}, "ended"),
        ({"database": "disk is full"}, {"database"}, "refuses to write"),
        (
            {"database": "gone", "state": State.WAITING},
            {"database", "recovered", "owner"},
            "not known until it answers",
        ),
        (
            {"database": "gone", "state": State.IDLE},
            {"database", "recovered", "owner"},
            "not known until it answers",
        ),
    ],
    ids=["idle", "waiting", "recovering", "ended", "database", "waiting, gone", "idle, gone"],
)
def test_degraded_and_not_ready(
    client: Client, serving: dict[str, Any], put: dict[str, Any], wrong: set[str], words: str
) -> None:
    serving.update(put)
    health = client.get("/health")
    assert health.status_code == 200, "it lives, so it is not to be killed"
    assert list(health.json()) == ["status", "timestamp", "reasons"]
    assert health.json()["status"] == "degraded"
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    said = answer.json()
    assert list(said) == ["status", "checks", "reasons"]
    assert said["status"] == "not ready"
    assert said["checks"] == CHECKS | dict.fromkeys(wrong, False)
    assert said["reasons"] == health.json()["reasons"]
    assert words in " ".join(said["reasons"])


def test_nothing_of_the_machine_is_told_to_anyone(client: Client, serving: dict[str, Any]) -> None:
    serving.update(state=State.WAITING, owner="secret-host:4711", database="no host secret-host")
    for path in ("/health", "/ready"):
        assert b"secret" not in client.get(path).content


@pytest.mark.parametrize(
    ("what", "most", "said"),
    [("queued_events", None, "queue of events"), ("queued_bytes", MOST_BYTES, "queue of events")],
)
def test_a_queue_that_is_nearly_full(
    runtime: Runtime,
    serving: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    most: int | None,
    said: str,
) -> None:
    limit = int((most or runtime.pipeline.capacity) * FULL)
    monkeypatch.setattr(Pipeline, what, limit - 1)
    assert condition(runtime).well
    monkeypatch.setattr(Pipeline, what, limit)
    told = condition(runtime)
    assert told.checks == CHECKS | {"queue": False}
    assert said in told.reasons[0]
    assert "90%" in told.reasons[0]


def test_changes_that_cannot_be_stored_fill_a_queue_as_well(
    runtime: Runtime, serving: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Outbox, "full", True)
    told = condition(runtime)
    assert told.checks == CHECKS | {"queue": False}
    assert "changes of patterns wait" in told.reasons[0]


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_a_thread_that_has_ended_is_an_end(
    client: Client, serving: dict[str, Any], path: str
) -> None:
    serving["alive"] = False
    answer = client.get(path)
    assert answer.status_code == 503
    assert answer["Retry-After"]
    assert "thread" in answer.content.decode()


@pytest.mark.parametrize("thread", ["pipeline", "publisher", "upkeep"])
def test_each_thread_counts(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, client: Client, thread: str
) -> None:
    monkeypatch.setattr(runtime, "_started", True)
    for other in {"pipeline", "publisher", "upkeep"}:
        monkeypatch.setattr(type(getattr(runtime, other)), "alive", True)
    assert client.get("/health").status_code == 200
    monkeypatch.setattr(type(getattr(runtime, thread)), "alive", False)
    assert client.get("/health").status_code == 503


# --- with real servers --------------------------------------------------------------------


def test_a_locked_database_and_its_end(server: Server) -> None:
    visitor = events.visitor()
    with locked(server.database):
        status, said = server.post(events.loop(visitor))
        assert status == 503, said
        health = server.wait_for("/health", lambda told: told["status"] == "degraded")
        assert any("database" in reason for reason in health["reasons"])
        status, told = ready(server)
        assert status == 503
        assert told["checks"] == CHECKS | {"database": False}
    assert wait_until_ready(server) == {"status": "ready", "checks": CHECKS}
    assert server.get("/health")["status"] == "ok"
    assert server.post(events.loop(visitor))[0] == 202


def test_health_waits_for_nobody(server: Server) -> None:
    """Dozens of requests wait for a lock; /health and /ready do not wait behind them."""
    visitor = events.visitor()
    server.post(events.loop(visitor))
    pattern = server.wait_for(f"/api/patterns?user={visitor}", bool)[0]["pattern_id"]
    path = f"/api/patterns/{pattern}/resolve"
    with ThreadPoolExecutor(40) as pool:
        with locked(server.database):
            stuck = [pool.submit(server.request, "PATCH", path) for _ in range(40)]
            _wait_for_threads(server, AT_ONCE + 4)  # and those of the server itself
            took = []
            for ask in ("/health", "/ready") * 10:
                began = time.monotonic()
                server.request("GET", ask)
                took.append(time.monotonic() - began)
            assert not any(answer.done() for answer in stuck)
        assert {answer.result()[0] for answer in stuck} == {200}
    assert sorted(took)[-2] < 1.0, took


def _wait_for_threads(server: Server, count: int) -> None:
    """Wait until so many requests are held up; each has a thread."""
    assert server.process is not None
    threads = Path(f"/proc/{server.process.pid}/task")
    deadline = time.monotonic() + 10
    while len(list(threads.iterdir())) < count:
        assert time.monotonic() < deadline, "the requests never got there"
        time.sleep(0.05)


def test_a_second_server_waits_and_says_so(server: Server, tmp_path: Path) -> None:
    second = server.beside(tmp_path / "second")
    second.launch()
    try:
        told = _first_answer(second)
        assert told["checks"] == CHECKS | {"recovered": False, "owner": False}
        assert "Another process" in told["reasons"][0]
        health = second.get("/health")
        assert health["status"] == "degraded"
        assert health["reasons"] == told["reasons"]
        assert ready(server)[0] == 200
        server.stop()
        assert wait_until_ready(second) == {"status": "ready", "checks": CHECKS}
    finally:
        second.stop()


def _first_answer(server: Server) -> dict[str, Any]:
    """What /ready says once the server listens."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return ready(server)[1]
        except OSError:
            assert time.monotonic() < deadline, server.log.read_text()
            time.sleep(0.05)
