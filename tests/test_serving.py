"""Who serves: the engine runs where events are served, nowhere else, and ends in order."""

import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.events import event, loop
from tests.server import ROOT, Server, environment, manage
from tests.sse import EventSource

SAY_THREADS = "import threading; print(sorted(t.name for t in threading.enumerate()))"
ONLY_MAIN = "['MainThread']"


def python(code: str, database: Path, **extra: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(database, **extra),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


# --- where nothing is started ------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "import behaviourlens.settings",
        "import os; os.environ['DJANGO_SETTINGS_MODULE']='behaviourlens.settings';"
        "import django; django.setup()",
        "import os; os.environ['DJANGO_SETTINGS_MODULE']='behaviourlens.settings';"
        "import django; django.setup(); import behaviourlens.urls, detection.api",
    ],
    ids=["settings", "setup", "urls"],
)
def test_importing_starts_nothing(migrated: Path, code: str) -> None:
    assert python(f"{code}; {SAY_THREADS}", migrated) == ONLY_MAIN


@pytest.mark.parametrize(
    "command",
    [["check"], ["migrate", "--verbosity", "0"], ["shell", "--no-imports", "-c", "pass"]],
    ids=lambda command: command[0],
)
def test_commands_start_nothing(migrated: Path, command: list[str]) -> None:
    code = (
        "import sys; from django.core.management import execute_from_command_line;"
        f"execute_from_command_line(['manage.py', *{command!r}]); {SAY_THREADS}"
    )
    extra = {"DJANGO_SETTINGS_MODULE": "behaviourlens.settings"}
    assert python(code, migrated, **extra).splitlines()[-1] == ONLY_MAIN


def test_this_test_run_started_nothing() -> None:
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"pipeline", "publisher"}


def test_where_nothing_is_started_the_engine_is_unavailable(migrated: Path) -> None:
    code = (
        "import os; os.environ['DJANGO_SETTINGS_MODULE']='behaviourlens.settings'\n"
        "import django; django.setup()\n"
        "from detection import api\n"
        "try: api.stats(1)\n"
        "except api.EngineUnavailable as error: print(error)"
    )
    assert python(code, migrated) == "the engine does not run in this process"


# --- where it is started -----------------------------------------------------------------


class Runserver(Server):
    """manage.py runserver instead of daphne itself."""

    options: tuple[str, ...] = ("--noreload",)

    def command(self) -> list[str]:
        return [sys.executable, "manage.py", "runserver", *self.options, f"127.0.0.1:{self.port}"]


class Reloading(Runserver):
    options = ()


def detects(server: Server, user_id: str = "u1") -> None:
    assert server.post(loop(user_id))[0] == 202
    (found,) = server.wait_for(f"/api/patterns?user={user_id}", bool)
    assert found["type"] == "navigation-loop"
    assert server.get("/api/stats")["patterns_detected"] >= 1


@pytest.mark.parametrize("kind", [Server, Runserver])
def test_each_server_detects_and_stops_in_order(
    tmp_path: Path, migrated: Path, kind: type[Server]
) -> None:
    with kind(tmp_path, migrated) as server:
        detects(server)
        assert server.post(loop("last"))[0] == 202
        assert server.stop() == 0
    log = server.log.read_text()
    assert log.count("All that was accepted has been handled") == 1
    assert "Traceback" not in log
    assert stored(server, "last") == 1


def test_of_the_reloaders_two_processes_one_has_the_engine(tmp_path: Path, migrated: Path) -> None:
    with Reloading(tmp_path, migrated) as server:
        assert server.process is not None
        parent = Path(f"/proc/{server.process.pid}/task")
        assert len(list(parent.iterdir())) == 1, "the process that watches has no threads"
        detects(server)
        (child,) = (parent / str(server.process.pid) / "children").read_text().split()
        os.kill(int(child), signal.SIGTERM)
        server.process.wait(60)
    assert server.log.read_text().count("All that was accepted has been handled") == 1


def stored(server: Server, user_id: str) -> int:
    with contextlib.closing(sqlite3.connect(server.database, timeout=20)) as database:
        asked = "select count(*) from detection_pattern where user_id=?"
        return int(database.execute(asked, (user_id,)).fetchone()[0])


def test_a_database_that_is_not_migrated_is_named_and_waited_for(tmp_path: Path) -> None:
    """The server starts, says what is missing, takes nothing, and serves once it is there."""
    (tmp_path / "db.sqlite3").touch()
    with contextlib.ExitStack() as stack:
        server = Server(tmp_path)
        stack.push(server.__exit__)
        server.start_waiting()
        assert server.post(event("u"))[0] == 503
        # It answers before it has looked at the database.
        deadline = time.monotonic() + 30
        while "python manage.py migrate" not in server.log.read_text():
            assert time.monotonic() < deadline, server.log.read_text()
            time.sleep(0.05)
        manage(server.database, "migrate", "--verbosity", "0")
        deadline = time.monotonic() + 60
        while server.post(event("u"))[0] != 202:
            assert time.monotonic() < deadline, server.log.read_text()
            time.sleep(0.1)
        detects(server)


# --- the end -----------------------------------------------------------------------------


def test_sigterm_under_load_loses_nothing_that_was_answered(tmp_path: Path, migrated: Path) -> None:
    """Clients post one looping visitor after another; each 202 is a pattern afterwards."""
    answered: list[str] = []

    def post_on(server: Server, client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        with contextlib.suppress(OSError, http.client.HTTPException):
            for n in range(100_000):
                who = f"c{client}-{n}"
                connection.request("POST", "/events", json.dumps(loop(who)).encode())
                response = connection.getresponse()
                response.read()
                if response.status == 202:
                    answered.append(who)
        connection.close()

    with Server(tmp_path, migrated) as server:
        stream = EventSource(server.url + "/api/stream").opened()
        clients = [threading.Thread(target=post_on, args=(server, n)) for n in range(4)]
        for client in clients:
            client.start()
        stream.wait_for(lambda heard: len(heard) > 100, timeout=20)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 10
        for client in clients:
            client.join(20)
        stream.close()
    with contextlib.closing(sqlite3.connect(server.database)) as database:
        found = {row[0] for row in database.execute("select user_id from detection_pattern")}
        lines = database.execute("select sequence from detection_patternchange order by 1")
        told = [row[0] for row in lines]
    assert len(answered) > 100
    assert set(answered) <= found
    assert told == list(range(1, len(told) + 1))
    assert "Traceback" not in server.log.read_text()


def test_a_request_that_is_half_sent_does_not_disturb_the_end(
    tmp_path: Path, migrated: Path
) -> None:
    with Server(tmp_path, migrated) as server, contextlib.ExitStack() as stack:
        for half in (b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", b"GET /"):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            stack.enter_context(client)
            client.sendall(half)
        stream = stack.enter_context(EventSource(server.url + "/api/stream").opened())
        assert server.post(loop("u1"))[0] == 202
        stream.wait_for(bool)
        assert server.stop() == 0
    assert stored(server, "u1") == 1


def test_sigint_ends_in_order_as_well(tmp_path: Path, migrated: Path) -> None:
    with Server(tmp_path, migrated) as server:
        assert server.post(loop("u1"))[0] == 202
        assert server.process is not None
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) in {0, 130, -signal.SIGINT}
    assert stored(server, "u1") == 1


def test_a_restart_goes_on_where_it_ended(tmp_path: Path, migrated: Path) -> None:
    with Server(tmp_path, migrated) as server:
        detects(server, "u1")
        server.stop()
        server.start()
        detects(server, "u2")
        assert server.get("/api/stats")["patterns_detected"] == 2


def test_a_websocket_is_refused_without_noise(tmp_path: Path, migrated: Path) -> None:
    with Server(tmp_path, migrated) as server:
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/events", headers=upgrade)
        response = connection.getresponse()
        response.read()
        connection.close()
        assert response.status == 403
        assert server.get("/health")["status"] == "ok"
        server.stop()
        assert "Traceback" not in server.log.read_text()
