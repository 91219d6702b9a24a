"""Clients that do not read, and more clients than there is room for, against a real server."""

import contextlib
import json
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.events import loop, visitor
from tests.server import Server, manage
from tests.sse import EventSource
from tests.streaming import API, listen, newest, write

# What each stalled client would be sent: far more than sockets hold.
CHANGES = 4000
FAT = 12_000
STALLED = 5
# Twisted's buffer and one chunk for each, a slice that all share, and what rendering needs.
MOST_GROWTH_MB = 80


class Impatient(Server):
    """A server that waits only a few seconds for a client that does not read."""

    def command(self) -> list[str]:
        return [*super().command()[:-1], "tests.impatient:application"]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Path:
    """A database with some 50 MB of changes."""
    folder = tmp_path_factory.mktemp("stored")
    with Server(folder, migrated) as server:
        pass
    write(server.target, CHANGES, fat=FAT)
    return server.database


def deaf(server: Server) -> EventSource:
    """A client far behind that hears the beginning and then reads no more."""
    began = newest(server) - CHANGES
    stream = EventSource(server.url + API, f"changes-1:{began}", room=16_384)
    stream.pause()
    return stream


def refused(server: Server) -> bool:
    with EventSource(server.url + API) as stream:
        return stream.response.status == 503


def wait_for_room(server: Server) -> None:
    deadline = time.monotonic() + 10
    while refused(server):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_clients_that_stall_cost_little_and_are_dropped(tmp_path: Path, stored: Path) -> None:
    with Impatient(tmp_path, stored, BL_MAX_STREAMS=str(STALLED)) as server:
        with listen(server, f"changes-1:{newest(server) - 100}") as stream:
            stream.wait_until(newest(server))  # it has rendered and sent once
        before = most = server.rss()
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(deaf(server)) for _ in range(STALLED)]
            began = time.monotonic()
            while "is dropped" not in server.said():
                most = max(most, server.rss())
                assert time.monotonic() - began < 20
                time.sleep(0.05)
            assert time.monotonic() - began > 3
            deadline = time.monotonic() + 20
            while server.said().count("is dropped: it has taken nothing for 4 s") < STALLED:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            for client in clients:
                client.resume()
                assert client.ended.wait(10)
                assert 0 < len(client.named("pattern")) < CHANGES
        assert most - before < MOST_GROWTH_MB, f"{before} MB became {most} MB"
        with listen(server) as stream:  # their places are free again
            server.post(loop(visitor()))
            stream.wait_for(bool)
        assert "Traceback" not in server.said()


def test_others_do_not_notice_a_stalled_stream(tmp_path: Path, stored: Path) -> None:
    """Nor is a client dropped that is only slow: one that stops for less than the bound."""

    def delays() -> list[float]:
        found = []
        for _ in range(15):
            before = len(healthy[0].named("pattern"))
            began = time.monotonic()
            assert server.post(loop(visitor()))[0] == 202
            for stream in healthy:
                stream.wait_for(lambda heard: len(heard) > before)  # noqa: B023
            found.append(time.monotonic() - began)
        return found

    with Server(tmp_path, stored) as server, contextlib.ExitStack() as stack:
        healthy = [stack.enter_context(listen(server)) for _ in range(5)]
        alone = delays()
        clients = [stack.enter_context(deaf(server)) for _ in range(STALLED)]
        server.wait_for("/api/stats", bool)
        beside = delays()
        assert statistics.median(beside) < 2 * statistics.median(alone) + 0.1
        assert max(beside) < 2
        for client in clients:
            client.resume()
        for client in clients:
            heard = client.wait_until(newest(server))
            sequences = [message.sequence for message in heard]
            assert sequences == list(range(sequences[0], newest(server) + 1))
            assert len(heard) >= CHANGES
        assert "is dropped" not in server.said()


# --- as many as there is room for --------------------------------------------------------


@pytest.fixture
def narrow(tmp_path: Path, migrated: Path) -> Iterator[Server]:
    with Impatient(tmp_path, migrated, BL_MAX_STREAMS="3", BL_API_ORIGINS="*") as running:
        yield running


@pytest.mark.parametrize("path", [API, "/stream"])
def test_one_stream_more_is_told_to_come_again(narrow: Server, path: str) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(listen(narrow))
        status, headers, body = narrow.request("GET", path, headers={"Origin": "http://a.test"})
        assert status == 503
        assert headers["content-type"] == "application/json"
        assert int(headers["retry-after"]) > 0
        assert json.loads(body)["error"]["code"] == "busy"
        if path == API:
            assert headers["access-control-allow-origin"] == "*"
        assert narrow.get("/api/patterns") == [], "only streams are refused"
    wait_for_room(narrow)
    assert "Traceback" not in narrow.said()


def test_a_place_is_free_again_however_a_stream_ends(narrow: Server) -> None:
    for _ in range(10):
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(EventSource(narrow.url + API))
            assert refused(narrow)
        wait_for_room(narrow)
    assert "Traceback" not in narrow.said()


def test_a_stream_ends_with_the_permission(tmp_path: Path, migrated: Path) -> None:
    with Impatient(
        tmp_path, migrated, DEBUG="0", BL_INSECURE_HTTP="1", ALLOWED_HOSTS="127.0.0.1"
    ) as server:
        code = (
            "from django.contrib.auth import get_user_model; from django.test import Client;"
            "user = get_user_model().objects.create(username='ada', is_staff=True);"
            "client = Client(); client.force_login(user);"
            "print('cookie', client.cookies['bl_session'].value)"
        )
        said = manage(server.target, "shell", "--no-imports", "-c", code, DEBUG="1").stdout
        cookie = re.search(r"cookie (\S+)", said)
        assert cookie
        assert server.request("GET", API)[0] == 403
        with EventSource(server.url + API, Cookie=f"bl_session={cookie[1]}").opened() as stream:
            time.sleep(1.5)  # asked at least once, and still allowed
            stream.wait_for(bool, "stats")
            code = (
                "from django.contrib.auth import get_user_model;"
                "get_user_model().objects.update(is_staff=False)"
            )
            manage(server.target, "shell", "--no-imports", "-c", code)
            (told,) = stream.wait_for(bool, "stream-error", timeout=20)
            assert told.json["condition"] == "forbidden"
            assert stream.ended.wait(5)
        assert "Traceback" not in server.said()
