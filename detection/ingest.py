"""POST /events as a bare ASGI application, routed ahead of Django's middleware.

GET on the same path is a query and belongs to Django's own handler.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec
from django.conf import settings

from detection import cleaning, clock, door, wire
from detection.admission import Admission
from detection.batches import Batch, Refusal, Refused
from detection.limits import Limits, network
from detection.sites import KnownSite
from detection.wire import WireError

if TYPE_CHECKING:
    from detection.runtime import Runtime

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"retry-after"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"x-content-type-options", b"nosniff"),
)
_PREFLIGHT = (
    *_CORS,
    (b"access-control-allow-methods", b"POST, OPTIONS"),
    (b"access-control-allow-headers", b"content-type, content-encoding"),
    (b"access-control-max-age", b"86400"),
)
# How long a request waits until its events are kept, seconds.
ANSWER_S = 15.0

# What a refusal says, and after how many seconds its sender should come again.
_REFUSALS = {
    Refusal.BUSY: ("Too many events are waiting; send them again shortly.", 1),
    Refusal.STARTING: ("The server is reading again what it accepted before; come again.", 1),
    Refusal.STANDBY: ("Another process runs the engine of this database; this one waits.", 5),
    Refusal.DATABASE: ("The database takes nothing at present, so nothing can be kept.", 5),
    Refusal.STOPPING: ("The server is stopping; send the events again shortly.", 2),
}


class Disconnected(Exception):
    """The client left before its body was whole."""


class EventsEndpoint:
    """The door of the events. `queries` gets GET."""

    def __init__(self, runtime: "Runtime", queries: Application) -> None:
        self._runtime = runtime
        self._queries = queries
        rates = settings.BL_RATE_LIMIT
        self._limits = Limits(rates) if rates else None
        door.put_up(Admission(runtime.pipeline), runtime.counters)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["method"]:
            case "POST":
                await self._post(scope, receive, send)
            case "GET":
                await self._queries(scope, receive, send)
            case "OPTIONS":
                await _send(send, 204, (*_PREFLIGHT, (b"content-length", b"0")), b"")
            case _:
                said = wire.error_body("method_not_allowed", "Send events with POST, ask with GET.")
                await _answer(send, 405, said, ((b"allow", b"GET, POST, OPTIONS"),))

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._accept(scope, receive)
            status = 202
            extra: Headers = ()
        except WireError as error:
            self._runtime.counters.refused(error.code)
            answer = wire.error_body(error.code, error.message, error.field)
            status = error.status
            extra = ((b"retry-after", b"%d" % error.retry_after),) if error.retry_after else ()
        except Disconnected:
            return
        await _answer(send, status, answer, extra)

    async def _accept(self, scope: Scope, receive: Receive) -> dict[str, Any]:
        headers = dict(scope["headers"])
        packed = await _read(headers, receive)
        limits = self._limits
        address = network(scope["client"][0]) if limits and scope.get("client") else ""
        if limits:
            limits.enter(address)
        body = wire.inflate(packed)
        arrival = clock.arrival_ms()
        submission = wire.decode(body)
        site = self._authorise(submission.site or _site_in(scope), headers.get(b"origin"))
        counters = self._runtime.counters
        count = len(submission.events)
        if limits:
            limits.events(address, str(site.pk), count + len(submission.rejected))
        if submission.bot:
            counters.bots += count
            return {"status": "accepted", "accepted": 0, "rejected": []}
        events, corrected = cleaning.clean(submission, site.pk, arrival)
        batch = Batch(site.pk, arrival, events, submission.batch, len(body))
        await self._keep(batch)
        if batch.duplicate:
            counters.duplicates += count
        else:
            counters.accepted += count
            counters.corrected += corrected
            counters.rejected += len(submission.rejected)
        if submission.single:
            return {"status": "accepted"}
        return {"status": "accepted", "accepted": count, "rejected": submission.rejected}

    async def _keep(self, batch: Batch) -> None:
        """Wait until the batch is kept. Raises WireError."""
        refusal = self._runtime.pipeline.offer(batch)
        if refusal is not None:
            raise _refused(refusal)
        try:
            async with asyncio.timeout(ANSWER_S):
                await batch.done()
        except Refused as refused:
            raise _refused(refused.reason) from None
        except TimeoutError:
            # It may be kept yet. If it is, it is known by its id when it is sent again.
            raise _refused(Refusal.BUSY) from None

    def _authorise(self, key: str, origin: bytes | None) -> KnownSite:
        sites = self._runtime.sites
        if not sites.loaded:
            raise _refused(Refusal.STARTING)
        if key:
            site = sites.by_key(key)
            if site is None:
                raise WireError(401, "unknown_key", "No site has this write key.", "site")
        else:
            site = sites.default if settings.DEBUG else None
            if site is None:
                raise WireError(401, "unknown_key", "The write key of a site is needed.", "site")
        if origin is not None and site.origins and origin.decode("latin-1") not in site.origins:
            raise WireError(403, "origin", "This origin may not send events for this site.")
        return site


def _refused(reason: Refusal) -> WireError:
    message, retry_after = _REFUSALS[reason]
    return WireError(503, reason.value, message, retry_after=retry_after)


def _site_in(scope: Scope) -> str:
    """The key in the query, for a body that has no place for one: `POST /events?site=KEY`."""
    return dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("site", "")


async def _read(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length[:20]) > wire.MAX_BODY:
        raise wire.too_large()
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        part = message.get("body", b"")
        size += len(part)
        if size > wire.MAX_BODY:
            raise wire.too_large()
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def _answer(send: Send, status: int, answer: dict[str, Any], extra: Headers) -> None:
    body = msgspec.json.encode(answer)
    described = (
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    )
    await _send(send, status, (*_CORS, *extra, *described), body)


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
