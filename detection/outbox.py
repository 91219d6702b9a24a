"""What the engine said, on its way from the pipeline to the publisher."""

import threading
from collections import deque

from detection.engine.patterns import Change, Identified

News = Change | Identified

BASE_BYTES = 2_000  # of a change without the events of its evidence
EVENT_BYTES = 500  # of an event of evidence, without its metadata


def weight(news: News) -> int:
    """About how many bytes it holds in memory."""
    if isinstance(news, Identified):
        return EVENT_BYTES
    total = BASE_BYTES
    for event in news.pattern.evidence.get("events", ()):
        total += EVENT_BYTES + len(event["page"])
        metadata = event.get("metadata")
        if metadata:
            total += sum(len(key) + len(value) + 150 for key, value in metadata.items())
    return total


class Outbox:
    """Bounded by a number of changes and by what they weigh: while it is full the pipeline takes
    no further events.
    """

    def __init__(self, capacity: int = 10_000, most_bytes: int = 64_000_000) -> None:
        self.capacity = capacity
        self._most_bytes = most_bytes
        self._bytes = 0
        self._changes: deque[News] = deque()
        self._ready = threading.Condition()
        self._nudged = False
        self._put = 0
        self._forgotten = 0

    def __len__(self) -> int:
        return len(self._changes)

    @property
    def full(self) -> bool:
        return len(self._changes) >= self.capacity or self._bytes >= self._most_bytes

    @property
    def put_in(self) -> int:
        """How many changes were ever put in."""
        return self._put

    def stored_up_to(self, count: int) -> bool:
        """Whether the first `count` changes ever put in have been stored (or given up)."""
        return self._forgotten >= count

    def put(self, changes: list[News]) -> None:
        """Never blocks: the pipeline takes no further events while the box is full."""
        if changes:
            with self._ready:
                self._changes.extend(changes)
                self._bytes += sum(map(weight, changes))
                self._put += len(changes)
                self._ready.notify()

    def nudge(self) -> None:
        """Wake the publisher: something it should look at has been written."""
        with self._ready:
            self._nudged = True
            self._ready.notify()

    def wait(self, timeout: float) -> list[News]:
        """All that waits, after at most `timeout` seconds; it stays until `forget`."""
        with self._ready:
            if not self._changes and not self._nudged:
                self._ready.wait(timeout)
            self._nudged = False
            return list(self._changes)

    def forget(self, count: int) -> None:
        """Drop the first `count` changes, which are stored now."""
        with self._ready:
            for _ in range(count):
                self._bytes -= weight(self._changes.popleft())
            self._forgotten += count
