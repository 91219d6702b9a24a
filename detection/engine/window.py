"""A visitor's sliding window of events, in arrival time.

It holds what arrived in `(now - window, now]`, at most so many events, as it stood when the last
event was added. Adding costs the same whatever it holds: events leave from the front one by one,
and the room they leave is reclaimed in steps of a fixed size.

Events are numbered in the order in which they were added, so that a rule can remember one by its
number and know from `first` whether the window still holds it. Lists with a moving head, rather
than deques or pairs, because most visitors hold few events and an empty deque takes more room than
their whole window (`benchmarks/engine.py` prints the bytes).
"""

from collections.abc import Sequence
from typing import Final

from .events import Event
from .sizes import event_bytes

RECLAIM: Final = 32  # events that may have left the window before their room is reclaimed
GONE: Final = Event(0, "", "", "", 0)  # stands where an event has left, so that nothing holds it


class Window:
    """The events of one visitor, oldest first, with the time (ms) each arrived.

    bytes: what the events hold, as `sizes` estimates it.
    """

    __slots__ = ("_arrivals", "_base", "_events", "_head", "_sizes", "bytes")

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._arrivals: list[int] = []
        self._sizes: list[int] = []
        self._head = 0  # index of the oldest event still held
        self._base = 0  # number of the event at index 0
        self.bytes = 0

    @classmethod
    def of(cls, first: int, events: list[Event], arrivals: list[int]) -> "Window":
        """A window that holds these; first: the number of the oldest. It keeps the lists."""
        window = cls()
        window._base = first
        window._events = events
        window._arrivals = arrivals
        window._sizes = [event_bytes(event) for event in events]
        window.bytes = sum(window._sizes)
        return window

    def add(self, event: Event, arrival: int, horizon: int, limit: int) -> int:
        """Drop what arrived at or before the horizon, make room within the limit, and append. By
        how many bytes it holds more now, or less.
        """
        arrivals = self._arrivals
        head = self._head
        size = len(arrivals)
        gained = event_bytes(event)
        self._events.append(event)
        arrivals.append(arrival)
        self._sizes.append(gained)
        self.bytes += gained
        if head < size and (arrivals[head] <= horizon or size - head >= limit):
            return gained + self.trim(horizon, limit)
        return gained

    def trim(self, horizon: int, limit: int) -> int:
        """Drop what arrived at or before the horizon, and the oldest beyond the limit, but never
        the newest. By how many bytes it holds less now, as a negative number.
        """
        events, arrivals, sizes = self._events, self._arrivals, self._sizes
        head = self._head
        last = len(arrivals) - 1
        lost = 0
        while head < last and (arrivals[head] <= horizon or last - head >= limit):
            lost -= sizes[head]
            events[head] = GONE
            head += 1
        if head >= RECLAIM:
            del self._events[:head]
            del self._arrivals[:head]
            del self._sizes[:head]
            self._base += head
            head = 0
        self._head = head
        self.bytes += lost
        return lost

    @property
    def first(self) -> int:
        """Number of the oldest event held."""
        return self._base + self._head

    @property
    def last(self) -> int:
        """Number of the newest event held."""
        return self._base + len(self._events) - 1

    @property
    def last_seen(self) -> int:
        """When the newest event arrived, ms. A visitor has at least one event."""
        return self._arrivals[-1]

    @property
    def events(self) -> Sequence[Event]:
        """What it holds, oldest first."""
        return self._events[self._head :]

    @property
    def arrivals(self) -> Sequence[int]:
        """When each of them arrived, ms."""
        return self._arrivals[self._head :]

    def __len__(self) -> int:
        return len(self._events) - self._head

    def event(self, number: int) -> Event:
        """The event of that number, which must still be held."""
        return self._events[number - self._base]

    def newest(self, number: int) -> tuple[Event, ...]:
        """The newest events, at most so many, oldest first."""
        return tuple(self._events[max(self._head, len(self._events) - number) :])

    def since(self, horizon: int) -> list[Event]:
        """A copy of what arrived after the horizon, oldest first."""
        return [
            self._events[index]
            for index in range(self._head, len(self._events))
            if self._arrivals[index] > horizon
        ]
