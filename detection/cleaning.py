"""From what was sent to what is kept: paths, short strings, and times on the server's clock.

What comes out is bounded, free of control characters, and holds each text that repeats within a
request once, since the engine and the journal hold many events of one visitor.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from detection.engine.events import Event
from detection.wire import MAX_METADATA_VALUE, MAX_PAGE, Scalar, Submission

# A timestamp without sent_at is believed if it lies within this time before its arrival.
BELIEVED_MS = 300_000
# Pages up to this length are remembered cleaned: nearly all, and together a few MB at most.
SHORT_PAGE = 200

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Cleaned(NamedTuple):
    """A request's events as the engine takes them, by time; those of equal time as they were sent.

    corrected: how many of them did not happen when they say they did.
    """

    events: list[Event]
    corrected: int


def clean(submission: Submission, site: int, arrival: int) -> Cleaned:
    """The engine's events of a request that arrived at `arrival`, epoch ms."""
    sent_at = submission.sent_at
    pages: dict[str, str] = {}
    views = {"": ""}
    users: dict[str, str] = {}
    events: list[Event] = []
    corrected = 0
    for wire in submission.events:
        page = pages.get(wire.page)
        if page is None:
            page = pages[wire.page] = clean_page(wire.page)
        view = views.get(wire.view)
        if view is None:
            view = views[wire.view] = _CONTROL.sub("", wire.view)
        user_id = users.setdefault(wire.user_id, wire.user_id)
        happened, believed = event_time(wire.timestamp, sent_at, arrival)
        if not believed:
            corrected += 1
        metadata = clean_metadata(wire.metadata)
        events.append(Event(site, user_id, wire.action, page, happened, view, metadata))
    events.sort(key=_when)
    return Cleaned(events, corrected)


def _when(event: Event) -> int:
    return event.timestamp


def event_time(timestamp: int, sent_at: int | None, arrival: int) -> tuple[int, bool]:
    """When an event happened by the server's clock, epoch ms, and whether its own was believed.

    Never after its arrival. With sent_at the sender's clock may be anything: what counts is how
    long before sending it was.
    """
    if sent_at is None:
        believed = arrival - BELIEVED_MS < timestamp <= arrival
        return (timestamp if believed else arrival), believed
    happened = arrival - (sent_at - timestamp)
    if happened > arrival:
        return arrival, False
    if happened < 0:
        return 0, False
    return happened, True


def clean_page(page: str) -> str:
    """A page as a path: no origin, query, fragment, control character or trailing slash."""
    return _short_page(page) if len(page) <= SHORT_PAGE else _path(page)


def _path(page: str) -> str:
    path = page.partition("?")[0].partition("#")[0]
    path = _CONTROL.sub("", path)
    scheme, separator, rest = path.partition("://")
    if separator and "/" not in scheme:
        path = "/" + rest.partition("/")[2]
    return ("/" + path.strip("/"))[:MAX_PAGE].rstrip("/") or "/"


_short_page = lru_cache(maxsize=8192)(_path)


def clean_metadata(metadata: dict[str, Scalar] | None) -> dict[str, str] | None:
    """Scalars as strings; None where nothing is left."""
    if not metadata:
        return None
    return {
        _plain(key): _plain(value) for key, value in metadata.items() if value is not None
    } or None


def _plain(value: str | int | float | bool) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not text.isprintable():
        text = _CONTROL.sub(" ", text)
    return text[:MAX_METADATA_VALUE]
