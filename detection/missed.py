"""What streams have missed, read from the table of changes: by few at a time, shared by many.

After a burst, or when the server has restarted, every open stream asks for the same changes at
once. So they are read in **slices**, each by one stream while the others wait for it, rendered
once, and kept for a few seconds. Whoever holds a database connection holds it for one slice.

Either a stream gets every change after the last it had, or it is told that some are gone.
"""

import contextlib
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from django.db import connection
from django_eventstream.event import Event

from detection.feeds import Feed
from detection.models import PatternChange, Site

# A client that missed more than this is told to start over (`stream-reset`).
MOST_REPLAYED = 10_000
# Changes read by one query.
SLICE = 250
# Streams that may hold a database connection at a time.
READS_AT_ONCE = 8
# What is kept of slices: for so long (what is erased must not be told for longer), of so much.
KEPT_S = 5.0
KEPT_BYTES = 16 * 1024 * 1024

_readers = threading.BoundedSemaphore(READS_AT_ONCE)


class Gone(Exception):
    """Some of the changes asked for are not there. `current`: the newest that is."""

    def __init__(self, current: int) -> None:
        super().__init__(f"the present is {current}")
        self.current = current


def release() -> None:
    """Give this thread's database connection back: an open stream has a thread of its own, and
    must not sit on a connection with it."""
    if not connection.in_atomic_block:
        connection.close()


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Room for one reader of the database; the connection is given back with it."""
    release()
    with _readers:
        try:
            yield
        finally:
            release()


def last_change(site: int) -> int:
    """The newest sequence of a site; 0 without one."""
    last = Site.objects.filter(pk=site).values_list("last_change", flat=True).first()
    return last or 0


class _Slice(NamedTuple):
    """Consecutive changes as events.

    whole_from: from here to `last` none is missing. full: there may be more behind `last`.
    """

    events: Sequence[Event]
    whole_from: int
    last: int
    full: bool
    size: int
    read_at: float


class Missed:
    """One per process. `clock` tells seconds that only go forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._lines: defaultdict[tuple[str, int], threading.Lock] = defaultdict(threading.Lock)
        self._kept: OrderedDict[tuple[str, int, int], _Slice] = OrderedDict()
        self._size = 0
        self._sent: dict[int, int] = {}

    def sent(self, site: int, sequence: int) -> None:
        """Everything up to `sequence` is in the table and about to be put into queues: a slice
        that was read before and ends earlier is no longer the present."""
        self._sent[site] = sequence

    def events(self, feed: Feed, site: int, after: int, limit: int) -> list[Event]:
        """The events that follow `after`: all there are, or else at least `limit`. Raises Gone."""
        found: list[Event] = []
        while True:
            part = self._slice(feed, site, after)
            if after < part.last and after + 1 < part.whole_from:
                with reading():
                    raise Gone(last_change(site))
            found += [event for event in part.events if event.id > after]
            if len(found) >= limit or not part.full:
                return found
            after = part.last

    def _slice(self, feed: Feed, site: int, after: int) -> _Slice:
        # The events of single changes are cut where all streams meet, wherever each stands. Those
        # of a feed that coalesces are costly, and streams that break together stand together.
        start = after + 1 if feed.coalesce else after - after % SLICE + 1
        key = (feed.name, site, start)
        if (part := self._good(key, after)) is not None:
            return part
        with self._lock:
            line = self._lines[feed.name, site]
        release()  # who stands in line holds nothing
        with line:
            if (part := self._good(key, after)) is not None:
                return part
            with reading():
                part = self._read(feed, site, start, after)
            self._keep(key, part)
            return part

    def _good(self, key: tuple[str, int, int], after: int) -> _Slice | None:
        """The slice, if it is kept and still says all that it could."""
        with self._lock:
            part = self._kept.get(key)
        sent = self._sent.get(key[1], 0)
        if part is None or self._old(part) or after > part.last or sent - after > MOST_REPLAYED:
            return None
        return part if part.full or part.last >= sent else None

    def _read(self, feed: Feed, site: int, start: int, after: int) -> _Slice:
        read_at = self._clock()
        current = last_change(site)
        if after > current or current - after > MOST_REPLAYED:
            raise Gone(current)
        last = min(start + SLICE - 1, current)
        within = PatternChange.objects.filter(site_id=site, sequence__range=(start, last))
        changes = list(within.select_related("pattern").order_by("sequence"))
        whole_from = last + 1
        for change in reversed(changes):
            if change.sequence != whole_from - 1:
                break
            whole_from = change.sequence
        if after + 1 < whole_from and after < last:
            raise Gone(current)
        events = feed.events(site, changes)
        size = sum(len(event.data) for event in events)
        full = last == start + SLICE - 1
        return _Slice(events, whole_from, last, full, size, read_at)

    def _keep(self, key: tuple[str, int, int], part: _Slice) -> None:
        with self._lock:
            if (old := self._kept.pop(key, None)) is not None:
                self._size -= old.size
            self._kept[key] = part
            self._size += part.size
            while self._size > KEPT_BYTES or self._old(next(iter(self._kept.values()))):
                self._size -= self._kept.popitem(last=False)[1].size
                if not self._kept:
                    return

    def _old(self, part: _Slice) -> bool:
        return self._clock() - part.read_at >= KEPT_S
