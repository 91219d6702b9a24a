"""/api/stream over real sockets: each change once, in order, and a reconnect repaired exactly."""

import asyncio
import contextlib
import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from django.db import connection
from django.test import AsyncRequestFactory

from detection import store, streams
from detection.missed import Missed
from detection.models import Site
from tests.events import abandonment, event, loop, visitor
from tests.making import opened
from tests.server import Server, manage
from tests.sse import EventSource
from tests.streaming import API, listen, make_patterns, newest, sequences

# --- what is heard ---------------------------------------------------------------------


def test_each_change_is_one_event_with_its_id(shared_server: Server) -> None:
    who = visitor()
    with listen(shared_server) as stream:
        before = newest(shared_server)
        shared_server.post(loop(who, visits=7))
        told = stream.wait_for(lambda heard: len(heard) == 2)
    assert sequences(told) == [before + 1, before + 2]
    assert [message.json["change"] for message in told] == ["opened", "escalated"]
    assert [message.json["severity"] for message in told] == ["low", "medium"]
    assert [message.json["sequence"] for message in told] == sequences(told)
    first, second = (message.json for message in told)
    assert first["pattern_id"] == second["pattern_id"]
    assert first["user_id"] == who


def test_the_pattern_has_the_shape_of_the_query_api(shared_server: Server) -> None:
    who = visitor()
    with listen(shared_server) as stream:
        shared_server.post(abandonment(who))
        (told,) = stream.wait_for(bool)
    (asked,) = shared_server.get(f"/api/patterns?user={who}")
    assert list(told.json) == [*asked, "change", "sequence", "by"]
    assert {name: told.json[name] for name in asked} == asked


def test_a_resolution_is_heard(shared_server: Server) -> None:
    who = visitor()
    shared_server.post(abandonment(who))
    (found,) = shared_server.wait_for(f"/api/patterns?user={who}", bool)
    with listen(shared_server) as stream:
        shared_server.request("PATCH", f"/api/patterns/{found['pattern_id']}/resolve")
        (told,) = stream.wait_for(bool)
    assert (told.json["change"], told.json["resolved"]) == ("resolved", True)


def test_a_resolution_in_another_process_is_heard(shared_server: Server) -> None:
    who = visitor()
    shared_server.post(abandonment(who))
    (found,) = shared_server.wait_for(f"/api/patterns?user={who}", bool)
    code = f"from detection.api import resolve; resolve({found['pattern_id']!r}, by='a command')"
    with listen(shared_server) as stream:
        manage(shared_server.database, "shell", "--no-imports", "-c", code)
        (told,) = stream.wait_for(bool)
    assert (told.json["change"], told.json["by"]) == ("resolved", "a command")


def test_stats_come_every_five_seconds(shared_server: Server) -> None:
    with listen(shared_server) as stream:
        stream.wait_for(bool, "stats", timeout=12)
        began = time.monotonic()
        told = stream.wait_for(lambda heard: len(heard) == 2, "stats", timeout=12)
        assert 3 < time.monotonic() - began < 8
    assert list(told[0].json) == [
        "total_events",
        "active_users",
        "patterns_detected",
        "abandonment_rate",
        "as_of",
    ]
    assert told[1].json["as_of"] > told[0].json["as_of"]


def test_the_response_is_a_stream_that_nobody_keeps(shared_server: Server) -> None:
    with listen(shared_server) as stream:
        headers = stream.response.headers
    assert headers["Content-Type"].startswith("text/event-stream")
    assert "no-cache" in headers["Cache-Control"]


def test_mark_up_and_line_ends_cannot_break_out_of_the_data(shared_server: Server) -> None:
    page = "/<script>\\n\\nevent: x\\r\\ndata: y\u2028</script>"
    who = visitor() + "\u2028\u2029 id: 7 <b>"
    with listen(shared_server) as stream:
        shared_server.post(loop(who, one=page))
        (told,) = stream.wait_for(bool)
    assert told.json["user_id"] == who
    assert told.json["page"] == page
    assert {message.event for message in stream.messages} <= {"stream-open", "pattern", "stats"}


# --- reconnecting ----------------------------------------------------------------------


def test_what_was_missed_comes_exactly_and_in_order(shared_server: Server) -> None:
    with listen(shared_server) as stream:
        make_patterns(shared_server, 3)
        heard = stream.wait_for(lambda heard: len(heard) == 3)
    make_patterns(shared_server, 20, visits=7)
    first = heard[1]
    expected = list(range(first.sequence + 1, first.sequence + 42))
    with listen(shared_server, first.id) as again:
        missed = again.wait_for(lambda heard: len(heard) >= 41)
        make_patterns(shared_server, 1)
        again.wait_for(lambda heard: len(heard) >= 42)
    assert sequences(again.named("pattern"))[:41] == expected
    assert missed[0].json["pattern_id"] == heard[2].json["pattern_id"]
    assert sequences(again.named("pattern"))[41:] == [expected[-1] + 1], "and then goes on"
    assert again.named("stream-reset") == []


def test_a_client_that_missed_nothing_hears_nothing_twice(shared_server: Server) -> None:
    with listen(shared_server) as stream:
        make_patterns(shared_server, 1)
        (last,) = stream.wait_for(bool)
    with listen(shared_server, last.id) as again:
        make_patterns(shared_server, 1)
        assert sequences(again.wait_for(bool)) == [last.sequence + 1]


def test_without_an_id_the_stream_starts_at_the_present(shared_server: Server) -> None:
    make_patterns(shared_server, 2)
    with listen(shared_server) as stream:
        before = newest(shared_server)
        make_patterns(shared_server, 1)
        assert sequences(stream.wait_for(bool)) == [before + 1]


def test_an_id_beyond_the_newest_starts_over(shared_server: Server) -> None:
    make_patterns(shared_server, 1)
    before = newest(shared_server)
    with listen(shared_server, f"changes-1:{before + 1000}") as stream:
        (reset,) = stream.wait_for(bool, "stream-reset")
        assert reset.sequence == before
        make_patterns(shared_server, 1)
        assert sequences(stream.wait_for(bool)) == [before + 1]


def test_the_id_may_stand_in_the_query(shared_server: Server) -> None:
    make_patterns(shared_server, 2)
    before = newest(shared_server)
    with listen(shared_server, query=f"?lastEventId=changes-1:{before - 1}") as stream:
        assert sequences(stream.wait_for(bool)) == [before]


@pytest.mark.parametrize(
    "sent",
    [
        "nonsense",
        "changes-1",
        "changes-1:",
        "changes-1:x",
        "changes-1:-1",
        "changes-1:1.5",
        "changes-1:" + "9" * 400,
        "changes-2:1",
        "rows-1:1",
        "stats-1:1",
        "changes-1:1,stats-1:1",
        "error",
        "%00",
        "'; drop table detection_pattern; --",
    ],
)
def test_an_id_that_this_stream_never_gave_is_refused(shared_server: Server, sent: str) -> None:
    status, headers, body = shared_server.request("GET", API, headers={"Last-Event-ID": sent})
    assert status == 400
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["error"]["field"] == "Last-Event-ID"


@pytest.mark.parametrize(
    "query",
    [
        "?es-meta=x",
        "?es-meta=a.b.c",
        "?recover=true",
        "?channel=stats-2",
        "?channel=rows-1",
        "?link=next",
    ],
)
def test_parameters_of_other_protocols_do_no_harm(shared_server: Server, query: str) -> None:
    with listen(shared_server, query=query) as stream:
        make_patterns(shared_server, 1)
        stream.wait_for(bool)
        assert {message.event for message in stream.messages} <= {"stream-open", "pattern", "stats"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_stream_is_only_for_reading(shared_server: Server, method: str) -> None:
    status, headers, body = shared_server.request(method, API, b"")
    assert status in {403, 405}
    assert json.loads(body)["error"]["code"]
    if status == 405:
        assert headers["allow"]


# --- many changes, many clients ----------------------------------------------------------


def test_a_burst_reaches_every_client_once_and_in_order(shared_server: Server) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(listen(shared_server)) for _ in range(4)]
        before = newest(shared_server)
        expected = list(range(before + 1, before + 301))
        for _ in range(10):
            make_patterns(shared_server, 30)
        for client in clients:
            client.wait_for(lambda heard: len(heard) >= 300, timeout=30)
        # One more, so that a double that comes late would be seen before it.
        make_patterns(shared_server, 1)
        for client in clients:
            client.wait_for(lambda heard: heard[-1].sequence == before + 301)
            assert sequences(client.named("pattern")) == [*expected, before + 301]
            assert client.named("stream-reset") == []


def test_the_ids_that_a_client_keeps_never_go_back(shared_server: Server) -> None:
    """Also those on stats: a reconnect after one must not bring a change again."""
    with listen(shared_server) as stream:
        for _ in range(5):
            make_patterns(shared_server, 20)
        stream.wait_for(lambda heard: len(heard) >= 100, timeout=20)
        stream.wait_for(bool, "stats", timeout=12)
    kept = [message.sequence for message in stream.messages if message.id]
    assert kept == sorted(kept)


def test_dashboard_and_api_hear_side_by_side(shared_server: Server) -> None:
    with listen(shared_server) as api, EventSource(shared_server.url + "/stream").opened() as rows:
        make_patterns(shared_server, 2)
        api.wait_for(lambda heard: len(heard) == 2)
        rows.wait_for(bool, "rows")


def test_the_server_ends_open_streams_when_it_stops(tmp_path: Path, migrated: Path) -> None:
    with Server(tmp_path, migrated) as server, listen(server) as stream:
        began = time.monotonic()
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        assert stream.ended.wait(10)
        assert server.stop() == 0
        assert time.monotonic() - began < 10
        assert "Traceback" not in server.log.read_text()


def test_changes_that_come_twice_are_sent_once_and_no_id_goes_back() -> None:
    """After a change was read from the table it may come again from the queue, with stats among
    them that carry its older id; a client that keeps that id would hear the newer ones twice."""

    def block(event: str, sequence: int) -> str:
        return f"event: {event}\nid: changes-1:{sequence}\ndata: {{}}\n\n"

    chunks = (
        block("pattern", 6) + block("pattern", 7),
        block("pattern", 6),
        block("stats", 6) + block("pattern", 7) + block("pattern", 8),
        "event: keep-alive\ndata:\n\n",
        block("stream-reset", 3) + block("pattern", 4),
    )
    position = streams.Position("pattern", 5)
    heard = [position.news_in(chunk) for chunk in chunks]
    assert list(filter(None, heard)) == [
        block("pattern", 6) + block("pattern", 7),
        block("stats", 7) + block("pattern", 8),
        "event: keep-alive\ndata:\n\n",
        block("stream-reset", 3) + block("pattern", 4),
    ]


# --- in the process ------------------------------------------------------------------------


@pytest.fixture
def opened_stream(site: Site, settings: Any) -> Callable[[], Any]:
    """Opens /api/stream in this process; gives the response's parts as they come."""
    settings.DEBUG = True
    request = AsyncRequestFactory().get(API)
    request.user = cast(Any, _Nobody())

    def open_it() -> Any:
        try:
            return streams.api_stream(request)
        finally:
            connection.close()  # it is asked in a thread of its own

    return open_it


class _Nobody:
    is_authenticated = False
    pk = None


def test_a_client_that_leaves_is_forgotten(opened_stream: Any) -> None:
    async def come_and_go() -> None:
        response = await asyncio.to_thread(opened_stream)
        parts = aiter(response)
        await anext(parts)
        assert streams.has_listeners("changes-1")
        assert streams.has_listeners("stats-1")
        waiting = asyncio.ensure_future(anext(parts))
        await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        response.close()

    asyncio.run(come_and_go())
    assert not streams.has_listeners("changes-1")
    assert not streams.has_listeners("stats-1")


def test_many_that_leave_before_they_are_served_are_forgotten(
    tmp_path: Path, migrated: Path
) -> None:
    with Server(tmp_path, migrated) as server:
        for _ in range(30):
            EventSource(server.url + API).close()
        with listen(server) as stream:
            server.post(abandonment("u1"))
            stream.wait_for(bool)
        assert server.post(event("u1"))[0] == 202
        assert "Traceback" not in server.log.read_text()


def test_a_stream_where_nothing_happens_is_kept_alive(
    opened_stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = asyncio.wait

    async def hurried(tasks: Any, timeout: float | None = None) -> Any:
        return await real(tasks, timeout=None if timeout is None else timeout / 1000)

    monkeypatch.setattr("django_eventstream.views.asyncio.wait", hurried)

    async def sit() -> list[bytes]:
        response = await asyncio.to_thread(opened_stream)
        parts = aiter(response)
        heard = [await asyncio.wait_for(anext(parts), 5) for _ in range(3)]
        await parts.aclose()
        response.close()
        return heard

    opened, *beats = asyncio.run(sit())
    assert b"event: stream-open" in opened
    assert beats == [b"event: keep-alive\ndata:\n\n"] * 2


def test_a_stream_outlives_trouble_with_the_database(
    site: Site, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has missed meanwhile is told when the table can be read again."""
    settings.DEBUG = True
    monkeypatch.setattr(streams, "RETRY_S", 0.05)
    monkeypatch.setattr(streams, "_missed", Missed())
    store.apply(opened(f"p{number}") for number in range(3))
    request = AsyncRequestFactory().get(API, headers={"Last-Event-ID": "changes-1:0"})
    request.user = cast(Any, _Nobody())

    def rename(one: str, other: str) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"ALTER TABLE {one} RENAME TO {other}")
        finally:
            connection.close()

    def open_it() -> Any:
        try:
            return streams.api_stream(request)
        finally:
            connection.close()

    async def hear() -> bytes:
        response = await asyncio.to_thread(open_it)
        await asyncio.to_thread(rename, "detection_patternchange", "elsewhere")
        parts = aiter(response)
        first = asyncio.ensure_future(anext(parts))
        try:
            done, _ = await asyncio.wait([first], timeout=0.5)
            assert not done, "there is nothing that it could say"
        finally:
            await asyncio.to_thread(rename, "elsewhere", "detection_patternchange")
        said = bytes(await asyncio.wait_for(first, 5))
        await parts.aclose()
        response.close()
        return said

    said = asyncio.run(hear()).decode()
    assert re.findall(r"id: changes-1:(\d+)", said) == ["1", "2", "3"]
    assert said.count("event: stream-open") == 1
