"""The engine: events and the time go in, changes of patterns come out.

Time is passed in and never decreases; a `now` before the engine's own counts as the engine's own.
The same stream of (event, now) always gives the same changes, ids and texts, however it is batched
and whenever `advance` is called in between. Nothing grows with what visitors send: windows are
bounded, a visitor silent for a whole window is forgotten (and is new when they come back), and what
outlives the window has a deadline.

The cost of an event does not depend on how many events its visitor holds, nor on how many visitors
there are.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from typing import Final

from .config import EngineConfig
from .deadlines import Deadlines
from .events import ACTIONS, Event
from .patterns import Change
from .rules import RULES, Observe
from .snapshots import ActiveVisitor, SiteStats, Tally, VisitorWindow
from .visitor import Visitor

ACTIVE_MS: Final = 60_000


class Engine:
    """Owns every visitor's state. Single-threaded: one owner calls it, others get its copies."""

    def __init__(self, config: EngineConfig | None = None) -> None:
        self.config = config or EngineConfig()
        self.now = 0
        self._deadlines = Deadlines()
        self._tallies: defaultdict[int, Tally] = defaultdict(Tally)
        self._rules = tuple(rule(self.config, self._deadlines, self._tallies) for rule in RULES)
        self._listeners: dict[str, tuple[Observe, ...]] = {
            action: tuple(
                rule.observe for rule in self._rules if not rule.actions or action in rule.actions
            )
            for action in ACTIONS
        }
        self._visitors: OrderedDict[tuple[int, str], Visitor] = OrderedDict()  # by last arrival
        self._evict_at = 0  # no visitor falls silent for a window before this time

    def observe(self, event: Event, now: int) -> list[Change]:
        """Fire every deadline due by now, then take in the event as having arrived now (epoch ms).

        An event older than its visitor's last is taken as happening at the same time as that one,
        and counted as late. Never raises for an event that keeps to its own definition.
        """
        changes = self.advance(now)
        now = self.now
        config = self.config
        tally = self._tallies[event.site]
        tally.total_events += 1
        visitor = self._visitor(event)
        if event.timestamp < visitor.last:
            tally.late += 1
            event = _clamped(event, visitor.last)
        visitor.window.add(event, now, now - config.window_ms, config.max_events)
        if visitor.hear(event):
            for observe in self._listeners.get(event.action, ()):
                found = observe(visitor, event, now)
                if found:
                    changes += found
        visitor.settle(event)
        return changes

    def advance(self, now: int) -> list[Change]:
        """Let time pass: fire every deadline due by now, each as at its own time."""
        if now < self.now:
            now = self.now
        changes = self._deadlines.fire(now) if now >= self._deadlines.nearest else []
        self.now = now
        if now >= self._evict_at:
            self._evict(now)
        return changes

    def next_deadline(self) -> int | None:
        """No deadline fires before this time (epoch ms); None while there is none."""
        return self._deadlines.nearest if len(self._deadlines) else None

    def identified(self, site: int, user_id: str) -> str:
        """The id that the visitor is known by, or ""."""
        visitor = self._visitors.get((site, user_id))
        return visitor.identified if visitor is not None else ""

    def stats(self, site: int) -> SiteStats:
        """The counts of one site; zeros for a site never heard of."""
        tally = self._tallies.get(site) or Tally()
        return SiteStats(
            total_events=tally.total_events,
            active_users=sum(1 for visitor in self._since(ACTIVE_MS) if visitor.site == site),
            entered=tally.entered,
            abandoned=tally.abandoned,
            late=tally.late,
        )

    def active_visitors(self, site: int, within_ms: int) -> list[ActiveVisitor]:
        """Visitors whose last event arrived in `(now - within_ms, now]`, newest first.

        No further back than a window: a visitor silent for that long is forgotten.
        """
        return [
            ActiveVisitor(
                visitor.user_id,
                visitor.identified,
                visitor.current_page,
                visitor.window.last_seen,
            )
            for visitor in self._since(within_ms)
            if visitor.site == site
        ]

    def _since(self, within_ms: int) -> Iterator[Visitor]:
        """Visitors of every site heard in `(now - within_ms, now]`, newest first."""
        horizon = self.now - min(within_ms, self.config.window_ms)
        for visitor in reversed(self._visitors.values()):
            if visitor.window.last_seen <= horizon:
                return
            yield visitor

    def window(self, site: int, user_id: str) -> VisitorWindow | None:
        """What the visitor's window holds now; None if nothing."""
        visitor = self._visitors.get((site, user_id))
        if visitor is None:
            return None
        return VisitorWindow(
            user_id=visitor.user_id,
            identified=visitor.identified,
            current_page=visitor.current_page,
            last_seen=visitor.window.last_seen,
            hidden=visitor.hidden,
            events=visitor.window.since(self.now - self.config.window_ms),
        )

    def _visitor(self, event: Event) -> Visitor:
        """The event's visitor, moved to the end of the order by last arrival."""
        key = (event.site, event.user_id)
        visitor = self._visitors.get(key)
        if visitor is not None:
            self._visitors.move_to_end(key)
            return visitor
        names = (rule.known_as(event.site, event.user_id, self.now) for rule in self._rules)
        visitor = Visitor(event.site, event.user_id, next(filter(None, names), ""))
        self._visitors[key] = visitor
        return visitor

    def _evict(self, now: int) -> None:
        """Forget visitors silent for a whole window, from the front of the order."""
        horizon = now - self.config.window_ms
        visitors = self._visitors
        while visitors:
            last_seen = next(iter(visitors.values())).window.last_seen
            if last_seen > horizon:
                self._evict_at = last_seen + self.config.window_ms
                return
            visitors.popitem(last=False)
        self._evict_at = now + self.config.window_ms


def _clamped(event: Event, timestamp: int) -> Event:
    return Event(
        site=event.site,
        user_id=event.user_id,
        action=event.action,
        page=event.page,
        timestamp=timestamp,
        view=event.view,
        metadata=event.metadata,
    )
