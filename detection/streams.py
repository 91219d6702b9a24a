"""Server-Sent Events through django-eventstream, with PatternChange as its storage.

A **feed** turns the changes of a site into events of a channel named `<feed>-<site>`. Two
exist: `changes` (here; one event per change, for /api/stream) and the dashboard's rows. A
channel without a feed is not kept: `stats-<site>`, `live-<site>`.

The event id is the change's sequence, so a client that reconnects with Last-Event-ID gets
what it missed from the table. django-eventstream re-reads its storage from the same place
after some races, and lets an event that is both stored and queued through twice;
`_each_once` drops what the client has had.
"""

import logging
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
from django.db import connection
from django.http import HttpRequest, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET
from django_eventstream import send_event
from django_eventstream.channelmanager import ChannelManagerBase
from django_eventstream.event import Event
from django_eventstream.eventrequest import EventRequest
from django_eventstream.storage import EventDoesNotExist, StorageBase
from django_eventstream.utils import add_default_headers
from django_eventstream.views import Listener, get_listener_manager, stream

from detection import access
from detection.models import PatternChange, Site
from detection.shapes import change_out
from detection.wire import error_body

logger = logging.getLogger(__name__)

# A client that missed more than this is told to start over (`stream-reset`).
MOST_REPLAYED = 1000
# How django-eventstream writes an id: the kept channel and the sequence in it.
_EVENT_ID = re.compile(r"([a-z]+-\d+):(\d{1,18})")


class Feed(msgspec.Struct, frozen=True):
    """A way of sending changes.

    name: the channel's prefix. event: the SSE event's name. encode: one change's data, or
    with `coalesce` all the data of a run of changes, in one event with the last one's id.
    """

    name: str
    event: str
    encode: Callable[[Sequence[PatternChange]], str]
    coalesce: bool = False

    def events(self, site: int, changes: Sequence[PatternChange]) -> list[Event]:
        runs = [changes] if self.coalesce else [[change] for change in changes]
        channel = f"{self.name}-{site}"
        return [Event(channel, self.event, self.encode(r), id=r[-1].sequence) for r in runs if r]


_feeds: dict[str, Feed] = {}


def register(feed: Feed) -> None:
    """Add a feed; called once per app from AppConfig.ready."""
    _feeds[feed.name] = feed


def _encode_change(changes: Sequence[PatternChange]) -> str:
    return change_out(changes[0]).model_dump_json()


register(Feed("changes", "pattern", _encode_change))


def _split(channel: str) -> tuple[Feed | None, int]:
    name, _, site = channel.rpartition("-")
    return _feeds.get(name), int(site)


class _Stored(str):
    """Data of an event whose change is in the table already, under `sequence`."""

    sequence: int


class ChangeStorage(StorageBase):
    """What django-eventstream reads after a reconnect or an overflow.

    Each open stream keeps a thread of its own, and with it a database connection, so every
    read gives its connection back.
    """

    def append_event(self, channel: str, event_type: str, data: _Stored) -> Event:
        return Event(channel, event_type, str(data), id=data.sequence)

    def get_events(self, channel: str, last_id: int, limit: int = 100) -> list[Event]:
        feed, site = _split(channel)
        if feed is None:
            return []
        try:
            current = _last_change(site)
            missed = PatternChange.objects.filter(site_id=site, sequence__gt=last_id)
            most = MOST_REPLAYED if feed.coalesce else limit
            if last_id > current or current - last_id > MOST_REPLAYED:
                raise EventDoesNotExist(f"no change {last_id}", current)
            changes = list(missed.select_related("pattern").order_by("sequence")[:most])
            if changes and changes[0].sequence != last_id + 1:
                raise EventDoesNotExist(f"change {last_id + 1} is gone", current)
            return feed.events(site, changes)
        finally:
            connection.close()

    def get_current_id(self, channel: str) -> int:
        try:
            return _last_change(_split(channel)[1])
        finally:
            connection.close()


def _last_change(site: int) -> int:
    last = Site.objects.filter(pk=site).values_list("last_change", flat=True).first()
    return last or 0


class ChannelManager(ChannelManagerBase):
    """Who may listen to what: those who may see the site, and nobody to anything else."""

    def get_channels_for_request(
        self, request: HttpRequest, view_kwargs: dict[str, Any]
    ) -> set[str]:
        return set(view_kwargs["channels"])

    def can_read_channel(self, user: Any, channel: str) -> bool:
        return access.may_read(user, _split(channel)[1])

    def is_channel_reliable(self, channel: str) -> bool:
        return _split(channel)[0] is not None


def has_listeners(channel: str) -> bool:
    """Whether anyone listens now. One who comes later reads the table, so nothing is missed."""
    return bool(get_listener_manager().listeners_by_channel.get(channel))


def send_changes(site: int, changes: Sequence[PatternChange]) -> None:
    """Send stored changes (with their patterns) of one site to every feed that is heard."""
    for feed in _feeds.values():
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
    since = int(stamp[2]) if stamp else _last_change(site)
    # Built by hand: reading the request itself would obey query parameters of a proxy
    # protocol (es-meta, recover) that is not in use here.
    wanted = EventRequest()
    wanted.channels = {kept, *(f"{name}-{site}" for name in passing)}
    wanted.channel_last_ids = {kept: str(since)}
    wanted.is_next = False
    wanted.user = request.user if request.user.is_authenticated else None
    listener = Listener()
    listener.user_id = request.user.pk or "anonymous"
    listener.channels = wanted.channels
    response = StreamingHttpResponse(
        _each_once(stream(wanted, listener), _feeds[feed].event, since),
        content_type="text/event-stream",
    )
    add_default_headers(response, request=request)
    return response


async def _each_once(chunks: AsyncIterator[str], kept_event: str, last: int) -> AsyncIterator[str]:
    """The stream without kept events whose sequence is not past the last one sent.

    Nor does the id of an event between them go back, since a client resumes from there.
    """
    async for chunk in chunks:
        fresh = []
        for block in chunk.split("\n\n"):
            name, _, rest = block.partition("\n")
            stamp = _EVENT_ID.match(rest.removeprefix("id: "))
            if stamp is not None and name == "event: stream-reset":
                last = int(stamp[2])
            elif stamp is not None and name == f"event: {kept_event}":
                if int(stamp[2]) <= last:
                    continue
                last = int(stamp[2])
            elif stamp is not None and int(stamp[2]) < last:
                block = block.replace(stamp[0], f"{stamp[1]}:{last}", 1)
            fresh.append(block)
        if body := "\n\n".join(fresh):
            yield body


@csrf_exempt  # so that a POST is told 405, not 403
@require_GET
def api_stream(request: HttpRequest) -> HttpResponseBase:
    """GET /api/stream: `pattern` at each change, `stats` every 5 s."""
    return open_stream(request, site=access.site_of(request).pk, feed="changes", passing=["stats"])
