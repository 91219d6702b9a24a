"""The door of Django's pages: how many requests are worked on at a time, how many streams stay
open, and what becomes of a stream whose client does not read.

Daphne's `send` never waits, and Twisted keeps what the client does not take, without a bound.
But Twisted tells whoever registers as the producer of a response when to pause. While it
says so, nothing is sent: the stream's own queue overflows, and what it missed is read from the
table when the client reads again. If that takes too long the connection is cut.
"""

import asyncio
import contextlib
import json
import logging
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IConsumer

from detection.wire import error_body

if TYPE_CHECKING:
    from detection.ingest import Application, Receive, Scope, Send

logger = logging.getLogger(__name__)

# A client that takes nothing for so long is cut off.
STALLED_S = 30.0
# Requests that Django works on at a time. Each has a thread and, while it does, a connection to
# the database; PostgreSQL has a hundred for everyone.
AT_ONCE = 24
# Those who ask these want to know how things are when they are bad: they stand in no line.
AHEAD = frozenset({"/health", "/ready", "/metrics"})
RETRY_AFTER_S = 5

_open: set["_Response"] = set()


def open_streams() -> int:
    """How many streams are open in this process."""
    return len(_open)


class Backpressure:
    """An ASGI application in front of another (Django's).

    most_streams: open at a time; one more is answered 503. stalled_s: see STALLED_S.
    """

    def __init__(
        self,
        application: "Application",
        *,
        most_streams: int,
        at_once: int = AT_ONCE,
        stalled_s: float = STALLED_S,
    ) -> None:
        self._application = application
        self._places = asyncio.Semaphore(at_once)
        self.most_streams = most_streams
        self.stalled_s = stalled_s

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        response = _Response(self, scope, send)
        if scope["path"] not in AHEAD:
            await self._places.acquire()
            response.on_leaving = self._places.release
        try:
            await self._application(scope, receive, response.send)
        finally:
            response.end()


class _Response:
    """One response on its way out."""

    def __init__(self, door: Backpressure, scope: "Scope", send: "Send") -> None:
        self._door = door
        self._client = (scope.get("client") or ["an unknown client"])[0]
        self._send = send
        self._producer: _Producer | None = None
        self._streams = False
        self.on_leaving: Any = None

    async def send(self, message: dict[str, Any]) -> None:
        """What the application calls. It is cancelled where its stream cannot go on, just as if
        the client had gone."""
        if message["type"] == "http.response.start" and _is_stream(message):
            await self._begin(message)
        elif not self._streams:
            await self._send(message)
        elif self._producer is not None:
            await self._producer.ready()
            if not message.get("more_body", False):
                self._producer.unregister()  # Twisted wants it gone before the end
            await self._send(message)
        else:
            await self._send_in_time(message)

    def end(self) -> None:
        """The application has ended, in whatever way."""
        self._leave()
        _open.discard(self)
        if self._producer is not None:
            self._producer.unregister()

    async def _begin(self, message: dict[str, Any]) -> None:
        if len(_open) >= self._door.most_streams:
            await self._refuse(message)
            raise asyncio.CancelledError("too many streams")
        _open.add(self)
        self._streams = True
        self._leave()
        request = _request_behind(self._send)
        if request is not None:
            self._producer = _Producer(request, self._door.stalled_s, self._client)
        await self._send(message)

    def _leave(self) -> None:
        """Make room for the next request; a stream that is open only waits."""
        leave, self.on_leaving = self.on_leaving, None
        if leave is not None:
            leave()

    async def _refuse(self, message: dict[str, Any]) -> None:
        """Answer 503, with the headers that the response was to have for its reader's sake."""
        body = json.dumps(error_body("busy", "Too many streams are open; try again soon.")).encode()
        kept = [pair for pair in message["headers"] if pair[0].lower() != b"content-type"]
        own = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"retry-after", b"%d" % RETRY_AFTER_S),
        ]
        await self._send({"type": message["type"], "status": 503, "headers": [*kept, *own]})
        await self._send({"type": "http.response.body", "body": body})

    async def _send_in_time(self, message: dict[str, Any]) -> None:
        """Under a server whose own `send` waits for the client."""
        try:
            async with asyncio.timeout(self._door.stalled_s):
                await self._send(message)
        except TimeoutError:
            _say_dropped(self._client, self._door.stalled_s)
            raise asyncio.CancelledError("the client does not read") from None


class _Producer:
    """What Twisted tells to pause and to go on, in the event loop's thread (an IPushProducer)."""

    def __init__(self, request: Any, stalled_s: float, client: str) -> None:
        self._request = request
        self._stalled_s = stalled_s
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._deadline: asyncio.TimerHandle | None = None
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._gone = False
        # Later than we would ourselves, so that who only stalls is told apart in the log.
        _notice_the_dead(request.transport, 2 * stalled_s)
        request.registerProducer(self, True)

    async def ready(self) -> None:
        """Wait until the client takes more."""
        await self._may_send.wait()
        if self._gone:
            raise asyncio.CancelledError("the client is gone")

    def unregister(self) -> None:
        self._settle()
        # Twisted takes the channel from a request that has ended.
        if getattr(self._request, "channel", None) is not None and self._request.producer is self:
            self._request.unregisterProducer()

    def pauseProducing(self) -> None:  # noqa: N802 (Twisted's name)
        self._may_send.clear()
        if self._deadline is None:
            self._deadline = self._loop.call_later(self._stalled_s, self._drop)

    def resumeProducing(self) -> None:  # noqa: N802
        self._settle()
        self._may_send.set()

    def stopProducing(self) -> None:  # noqa: N802
        self._gone = True
        self.resumeProducing()

    def _settle(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _drop(self) -> None:
        self._deadline = None
        _say_dropped(self._client, self._stalled_s)
        self._request.transport.abortConnection()


def _is_stream(message: dict[str, Any]) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in message.get("headers", ())
    )


def _request_behind(send: "Send") -> Any:
    """Twisted's request, where Daphne is the server; its `send` is bound to it."""
    held = send.args if isinstance(send, partial) else ()
    return next((one for one in held if IConsumer.providedBy(one)), None)


def _notice_the_dead(transport: Any, after_s: float) -> None:
    """Have the kernel end a connection whose other side no longer acknowledges anything: what
    little a quiet stream says would lie in its buffers for a quarter of an hour."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        with contextlib.suppress(AttributeError, OSError):  # no TCP, or not here
            transport.getHandle().setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(after_s * 1000)
            )


def _say_dropped(client: str, after_s: float) -> None:
    logger.info("A stream to %s is dropped: it has taken nothing for %g s.", client, after_s)
