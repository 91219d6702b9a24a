"""Server-Sent Events through django-eventstream, with PatternChange as its storage.

A stream of a site hears one feed (`changes`, here, or the dashboard's rows), every change of it
once and in order, and beside it channels that are not kept: `stats-<site>`, `live-<site>`.

The event id is the change's sequence, so a client that reconnects with Last-Event-ID gets
what it missed from the table. django-eventstream re-reads its storage from the same place
after some races, and lets an event that is both stored and queued through twice; `Position`
drops what the client has had.
"""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET
from django_eventstream import send_event
from django_eventstream.channelmanager import ChannelManagerBase
from django_eventstream.event import Event
from django_eventstream.eventrequest import EventRequest
from django_eventstream.storage import EventDoesNotExist, StorageBase
from django_eventstream.utils import add_default_headers, sse_encode_error
from django_eventstream.views import Listener, get_listener_manager, stream

from detection import access, feeds
from detection.backpressure import open_streams
from detection.feeds import Feed, register
from detection.missed import Gone, Missed, last_change, reading, release
from detection.models import PatternChange
from detection.trouble import TROUBLE
from detection.wire import error_body

__all__ = ["Feed", "has_listeners", "open_stream", "open_streams", "register", "send_passing"]

logger = logging.getLogger(__name__)

# An open stream is asked again at this distance whether its person may still see the site.
RECHECK_S = 30.0
# While the database refuses, what a stream has missed is asked for again at this distance.
RETRY_S = 2.0
# How django-eventstream writes an id: the kept channel and the sequence in it.
_EVENT_ID = re.compile(r"([a-z]+-\d+):(\d{1,18})")
# What it begins a stream with: padding, and the news that it is open.
_OPENING = ":" + " " * 2048 + "\n\nevent: stream-open\ndata:\n\n"
_KEEP_ALIVE = "event: keep-alive\ndata:\n\n"

_missed = Missed()


class _Stored(str):
    """Data of an event whose change is in the table already, under `sequence`."""

    sequence: int


class ChangeStorage(StorageBase):
    """What django-eventstream reads when a stream opens, and after an overflow of its queue."""

    def append_event(self, channel: str, event_type: str, data: _Stored) -> Event:
        return Event(channel, event_type, str(data), id=data.sequence)

    def get_events(self, channel: str, last_id: int, limit: int = 100) -> list[Event]:
        feed, site = feeds.split(channel)
        if feed is None:
            return []
        release()  # what the request's own views have opened
        try:
            return _missed.events(feed, site, last_id, limit)
        except Gone as gone:
            raise EventDoesNotExist(f"not every change after {last_id}", gone.current) from None

    def get_current_id(self, channel: str) -> int:
        with reading():
            return last_change(feeds.split(channel)[1])


class ChannelManager(ChannelManagerBase):
    """Who may listen to what: those who may see the site, and nobody to anything else."""

    def get_channels_for_request(
        self, request: HttpRequest, view_kwargs: dict[str, Any]
    ) -> set[str]:
        return set(view_kwargs["channels"])

    def can_read_channel(self, user: Any, channel: str) -> bool:
        return access.may_read(user, feeds.split(channel)[1])

    def is_channel_reliable(self, channel: str) -> bool:
        return feeds.split(channel)[0] is not None


# --- sending ---------------------------------------------------------------------------


def has_listeners(channel: str) -> bool:
    """Whether anyone listens now. One who comes later reads the table, so nothing is missed."""
    return bool(get_listener_manager().listeners_by_channel.get(channel))


def send_changes(site: int, changes: Sequence[PatternChange]) -> None:
    """Send stored changes (with their patterns) of one site to every feed that is heard."""
    if not changes:
        return
    _missed.sent(site, changes[-1].sequence)
    for feed in feeds.every():
        if not has_listeners(f"{feed.name}-{site}"):
            continue
        try:
            events = feed.events(site, changes)
        except Exception:
            # One feed's mistake must not hold up the others, nor the changes to come.
            logger.exception("Feed %s could not render changes of site %s.", feed.name, site)
            continue
        for event in events:
            data = _Stored(event.data)
            data.sequence = event.id
            send_event(event.channel, event.type, data, json_encode=False)


def send_passing(channel: str, event: str, data: str) -> None:
    """Send something that is not kept: who is not there now will not hear it."""
    if has_listeners(channel):
        send_event(channel, event, data, json_encode=False)


# --- one stream ------------------------------------------------------------------------


def open_stream(
    request: HttpRequest, *, site: int, feed: str, passing: Sequence[str]
) -> HttpResponseBase:
    """The response that streams `feed` of a site, and the `passing` channels beside it.

    Without Last-Event-ID it starts at the present. 400 where that header makes no sense,
    403 where this person may not see the site.
    """
    if not access.may_read(request.user, site):
        return JsonResponse(error_body("forbidden", "You may not see this site."), status=403)
    kept = f"{feed}-{site}"
    resume = request.headers.get("Last-Event-ID") or request.GET.get("lastEventId")
    stamp = _EVENT_ID.fullmatch(resume) if resume else None
    if resume and (stamp is None or stamp[1] != kept):
        message = "Last-Event-ID is not one that this stream gave."
        return JsonResponse(error_body("bad_request", message, "Last-Event-ID"), status=400)
    since = int(stamp[2]) if stamp else last_change(site)
    opened = _Stream(request.user, site, feeds.named(feed), passing, since)
    response = StreamingHttpResponse(opened.told(), content_type="text/event-stream")
    add_default_headers(response, request=request)
    return response


class Position:
    """How far a client has come: `last` is the sequence of the last kept event it was sent."""

    def __init__(self, kept_event: str, last: int) -> None:
        self._kept_event = f"event: {kept_event}"
        self.last = last

    def news_in(self, chunk: str) -> str:
        """The part of a stream without kept events whose sequence is not past the last one.

        Nor does the id of an event between them go back, since a client resumes from there.
        """
        fresh = []
        for block in chunk.split("\n\n"):
            name, _, rest = block.partition("\n")
            stamp = _EVENT_ID.match(rest.removeprefix("id: "))
            if stamp is not None and name == "event: stream-reset":
                self.last = int(stamp[2])
            elif stamp is not None and name == self._kept_event:
                if int(stamp[2]) <= self.last:
                    continue
                self.last = int(stamp[2])
            elif stamp is not None and int(stamp[2]) < self.last:
                block = block.replace(stamp[0], f"{stamp[1]}:{self.last}", 1)
            fresh.append(block)
        return "\n\n".join(fresh)


class _Stream:
    """An open stream. It outlives trouble with the database, and ends with the permission."""

    def __init__(
        self, user: Any, site: int, feed: Feed, passing: Sequence[str], since: int
    ) -> None:
        self._user = user if user.is_authenticated else None
        self._site = site
        self._kept = f"{feed.name}-{site}"
        self._channels = {self._kept, *(f"{name}-{site}" for name in passing)}
        self._position = Position(feed.event, since)
        self._checked = time.monotonic()

    async def told(self) -> AsyncIterator[str]:
        """All that the client is sent."""
        opened = False
        while True:
            try:
                async with aclosing(self._follow()) as chunks:
                    async for chunk in chunks:
                        if not await self._allowed():
                            yield self._farewell()
                            return
                        if opened:
                            chunk = chunk.removeprefix(_OPENING)
                        opened = True
                        if body := self._position.news_in(chunk):
                            yield body
                return
            except TROUBLE as error:
                # Whoever writes says in the log what is wrong; hundreds of readers need not.
                logger.debug("A stream waits for the database: %s", error)
            if opened:
                yield _KEEP_ALIVE
            await asyncio.sleep(RETRY_S)

    def _follow(self) -> Any:
        """django-eventstream's stream from where the client stands."""
        # Built by hand: reading the request itself would obey query parameters of a proxy
        # protocol (es-meta, recover) that is not in use here.
        wanted = EventRequest()
        wanted.channels = self._channels
        wanted.channel_last_ids = {self._kept: str(self._position.last)}
        wanted.is_next = False
        wanted.user = self._user
        listener = Listener()
        listener.user_id = self._user.pk if self._user else "anonymous"
        listener.channels = wanted.channels
        return stream(wanted, listener)

    async def _allowed(self) -> bool:
        if time.monotonic() - self._checked < RECHECK_S:
            return True
        if not await sync_to_async(self._may_read)():
            return False
        self._checked = time.monotonic()
        return True

    def _may_read(self) -> bool:
        """Whether this person may see the site, as they are in the database now."""
        if access.may_read(None, self._site):
            return True  # anyone may
        with reading():
            known = get_user_model()._default_manager
            user = known.filter(pk=self._user.pk).first() if self._user else None
            return access.may_read(user, self._site)

    def _farewell(self) -> str:
        channels = [self._kept]
        said = "You may not see this site any more."
        return str(sse_encode_error("forbidden", said, extra={"channels": channels}))


@csrf_exempt  # so that a POST is told 405, not 403
@require_GET
def api_stream(request: HttpRequest) -> HttpResponseBase:
    """GET /api/stream: `pattern` at each change, `stats` every 5 s."""
    return open_stream(request, site=access.site_of(request).pk, feed="changes", passing=["stats"])
