"""Every visitor with a window, in the order in which they were last heard.

A visitor silent for a whole window is forgotten. Where there are too many, or they hold too much,
the one longest silent goes sooner, and is counted.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from .visitor import Visitor

if TYPE_CHECKING:
    from .config import EngineConfig

Key = tuple[int, str]  # site, visitor


class Visitors:
    """held: by key, longest silent first. bytes: what they hold. evicted: how many had to go.
    evict_at: no visitor falls silent for a whole window before this time, ms.
    """

    __slots__ = ("bytes", "evict_at", "evicted", "held")

    def __init__(self) -> None:
        self.held: OrderedDict[Key, Visitor] = OrderedDict()
        self.bytes = 0
        self.evicted = 0
        self.evict_at = 0

    def resume(self, visitors: Iterable[Visitor]) -> None:
        """Hold these, longest silent first."""
        for visitor in visitors:
            self.held[visitor.site, visitor.user_id] = visitor
            self.bytes += visitor.window.bytes
            self.count(visitor)

    def count(self, visitor: Visitor) -> None:
        """They hold more now beside the window, or less; the window is counted as it changes."""
        held = visitor.bytes()
        self.bytes += held - visitor.counted
        visitor.counted = held
        visitor.grown = False

    def since(self, horizon: int) -> Iterator[Visitor]:
        """Visitors of every site heard after the horizon, newest first."""
        for visitor in reversed(self.held.values()):
            if visitor.window.last_seen <= horizon:
                return
            yield visitor

    def forget_silent(self, now: int, window_ms: int) -> None:
        """Forget those silent for a whole window."""
        horizon = now - window_ms
        while self.held:
            last_seen = next(iter(self.held.values())).window.last_seen
            if last_seen > horizon:
                self.evict_at = last_seen + window_ms
                return
            self._forget_first()
        self.evict_at = now + window_ms

    def make_room(self, most: int, most_bytes: int) -> None:
        """Evict those longest silent while there are more than `most` or they hold more than
        `most_bytes`; never the last one.
        """
        while len(self.held) > 1 and (len(self.held) > most or self.bytes > most_bytes):
            self._forget_first()
            self.evicted += 1

    def configure(self, before: "EngineConfig", after: "EngineConfig", now: int) -> list[Visitor]:
        """Forget those whom the new window no longer holds; the others, if they are to change."""
        self.evict_at = 0
        self.forget_silent(now, after.window_ms)
        narrower = after.window_ms < before.window_ms or after.max_events < before.max_events
        if narrower:
            return list(self.held.values())
        if before.loop.min_visits != after.loop.min_visits:
            return [visitor for visitor in self.held.values() if visitor.visits is not None]
        return []

    def _forget_first(self) -> None:
        _, visitor = self.held.popitem(last=False)
        self.bytes -= visitor.window.bytes + visitor.counted
