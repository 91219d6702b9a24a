"""Feeds: ways of turning a site's changes into the events of a channel named `<feed>-<site>`."""

from collections.abc import Callable, Sequence

import msgspec
from django_eventstream.event import Event

from detection.models import PatternChange
from detection.shapes import change_out

# Changes in one event of a feed that coalesces. A stream that has fallen behind is sent about
# fifty events at a time, so this is also what bounds the memory that one of them takes.
RUN = 10


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
        """The events that say these changes, which follow one another."""
        step = RUN if self.coalesce else 1
        runs = [changes[first : first + step] for first in range(0, len(changes), step)]
        channel = f"{self.name}-{site}"
        return [Event(channel, self.event, self.encode(r), id=r[-1].sequence) for r in runs]


_feeds: dict[str, Feed] = {}


def register(feed: Feed) -> None:
    """Add a feed; called once per app from AppConfig.ready."""
    _feeds[feed.name] = feed


def named(name: str) -> Feed:
    return _feeds[name]


def every() -> list[Feed]:
    return list(_feeds.values())


def split(channel: str) -> tuple[Feed | None, int]:
    """The feed (None for a channel that is not kept) and the site of a channel."""
    name, _, site = channel.rpartition("-")
    return _feeds.get(name), int(site)


def _encode_change(changes: Sequence[PatternChange]) -> str:
    return change_out(changes[0]).model_dump_json()


register(Feed("changes", "pattern", _encode_change))
