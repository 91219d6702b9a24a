"""The door of Django's pages, called as an ASGI server calls it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from detection.backpressure import Backpressure, open_streams

Message = dict[str, Any]
SCOPE = {"type": "http", "path": "/api/stream", "client": ["192.0.2.7", 5]}
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"Content-Type", b"text/event-stream"), (b"Vary", b"origin")],
}
PAGE = START | {"headers": [(b"Content-Type", b"text/html")]}


def part(body: bytes = b"x", more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def nothing() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def open_for_ever(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send(part())
    await asyncio.Event().wait()


class Heard:
    """A server's `send` that keeps what it is sent."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(test(), 10)

    asyncio.run(whole())
    assert open_streams() == 0


async def begun(door: Backpressure, send: Any = None, scope: Any = SCOPE) -> asyncio.Task[None]:
    """A request that has got as far as it gets by itself."""
    task = asyncio.ensure_future(door(scope, nothing, send or Heard()))
    for _ in range(20):
        await asyncio.sleep(0)
    return task


async def leave(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_open_streams_are_counted_until_they_end() -> None:
    async def test() -> None:
        door = Backpressure(open_for_ever, most_streams=5)
        one, other = await begun(door), await begun(door)
        assert open_streams() == 2
        await leave(one)
        assert open_streams() == 1
        await leave(other)

    run(test)


def test_a_page_is_no_stream_and_goes_out_as_it_is() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send(PAGE)
        await send(part())
        assert open_streams() == 0
        await send(part(b"", more=False))

    async def test() -> None:
        heard = Heard()
        await Backpressure(application, most_streams=1)(SCOPE, nothing, heard)
        assert heard.messages == [PAGE, part(), part(b"", more=False)]

    run(test)


def test_one_stream_too_many_is_answered_and_ended() -> None:
    async def test() -> None:
        door = Backpressure(open_for_ever, most_streams=1)
        first = await begun(door)
        heard = Heard()
        with pytest.raises(asyncio.CancelledError):
            await door(SCOPE, nothing, heard)
        start, body = heard.messages
        assert start["status"] == 503
        assert (b"Vary", b"origin") in start["headers"]
        assert (b"content-type", b"application/json") in start["headers"]
        assert b"text/event-stream" not in dict(start["headers"]).values()
        assert b'"busy"' in body["body"]
        assert not body.get("more_body", False)
        assert open_streams() == 1
        await leave(first)

    run(test)


def test_a_stream_that_fails_is_forgotten() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        raise RuntimeError("broken")

    async def test() -> None:
        door = Backpressure(application, most_streams=1)
        for _ in range(3):
            with pytest.raises(RuntimeError, match="broken"):
                await door(SCOPE, nothing, Heard())

    run(test)


def test_a_server_whose_send_waits_too_long_loses_the_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not Daphne, but any that keeps the application waiting while the client does not read."""

    async def full(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def test() -> None:
        door = Backpressure(open_for_ever, most_streams=1, stalled_s=0.05)
        with pytest.raises(asyncio.CancelledError):
            await door(SCOPE, nothing, full)

    with caplog.at_level(logging.INFO, "detection"):
        run(test)
    assert [record.getMessage() for record in caplog.records] == [
        "A stream to 192.0.2.7 is dropped: it has taken nothing for 0.05 s."
    ]


# --- how many at a time ------------------------------------------------------------------


def test_only_so_many_requests_are_worked_on_at_a_time() -> None:
    working: list[str] = []
    go_on = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        working.append(scope["path"])
        await go_on.wait()
        await send(PAGE)
        await send(part(more=False))

    async def test() -> None:
        door = Backpressure(slow, most_streams=1, at_once=2)
        tasks = [await begun(door, scope=SCOPE | {"path": f"/{n}"}) for n in range(4)]
        assert working == ["/0", "/1"]
        gone = tasks.pop(2)
        await leave(gone)  # one that waits may go without having been served
        ahead = await begun(door, scope=SCOPE | {"path": "/health"})
        assert working == ["/0", "/1", "/health"], "who asks how things are is never kept waiting"
        go_on.set()
        await asyncio.gather(*tasks, ahead)
        assert working == ["/0", "/1", "/health", "/3"]

    run(test)


def test_an_open_stream_takes_nobodys_place() -> None:
    async def test() -> None:
        door = Backpressure(open_for_ever, most_streams=10, at_once=1)
        tasks = [await begun(door) for _ in range(5)]
        assert open_streams() == 5
        await leave(*tasks)

    run(test)


def test_a_place_is_given_back_by_a_request_that_fails() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("broken")

    async def test() -> None:
        door = Backpressure(broken, most_streams=1, at_once=1)
        for _ in range(3):
            with pytest.raises(RuntimeError):
                await door(SCOPE, nothing, Heard())

    run(test)
