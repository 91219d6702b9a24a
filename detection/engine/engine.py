"""The engine: events and the time go in, changes of patterns come out.

Time is passed in and never decreases; a `now` before the engine's own counts as the engine's own.
The same stream of (event, now) always gives the same changes, ids and texts, however it is batched,
whenever `advance` is called in between, and wherever the engine is saved and restored. Nothing
grows with what visitors send: windows are bounded, a visitor silent for a whole window is forgotten
(and is new when they come back), what outlives the window has a deadline, and what is held in all
is bounded in number and in bytes.

The cost of an event does not depend on how many events its visitor holds, nor on how many visitors
there are.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from .config import EngineConfig
from .events import ACTIONS, Event
from .patterns import Change
from .rules import RULES, Observe
from .rules.journeys import Journeys
from .saving.capture import Capture
from .saving.restoring import read
from .snapshots import ActiveVisitor, Gauges, SiteStats, Tally, VisitorWindow
from .visitor import Visitor
from .visitors import Visitors

ACTIVE_MS: Final = 60_000


class Engine:
    """Owns every visitor's state. Single-threaded: one owner calls it, others get its copies."""

    def __init__(self, config: EngineConfig | None = None) -> None:
        self.config = config or EngineConfig()
        self.now = 0
        self._tallies: defaultdict[int, Tally] = defaultdict(Tally)
        self._visitors = Visitors()
        self._journeys = Journeys()
        self._capture: Capture | None = None
        self._set_rules()

    def _set_rules(self) -> None:
        self._journeys.deadlines.dismiss_owners()
        rules = tuple(rule(self.config, self._journeys, self._tallies) for rule in RULES)
        self._rules = rules
        self._listeners: dict[str, tuple[Observe, ...]] = {
            action: tuple(
                rule.observe for rule in rules if not rule.actions or action in rule.actions
            )
            for action in ACTIONS
        }

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
        visitors = self._visitors
        visitors.bytes += visitor.window.add(event, now, now - config.window_ms, config.max_events)
        if visitor.hear(event):
            for observe in self._listeners.get(event.action, ()):
                found = observe(visitor, event, now)
                if found:
                    changes += found
        visitor.settle(event)
        if visitor.grown:
            visitors.count(visitor)
        if visitors.bytes > config.max_bytes or self._journeys.changed:
            self._make_room()
        return changes

    def advance(self, now: int) -> list[Change]:
        """Let time pass: fire every deadline due by now, each as at its own time."""
        if now < self.now:
            now = self.now
        deadlines = self._journeys.deadlines
        changes = deadlines.fire(now) if now >= deadlines.nearest else []
        self.now = now
        if now >= self._visitors.evict_at:
            self._visitors.forget_silent(now, self.config.window_ms)
        return changes

    def next_deadline(self) -> int | None:
        """No deadline fires before this time (epoch ms); None while there is none."""
        deadlines = self._journeys.deadlines
        return deadlines.nearest if len(deadlines) else None

    def configure(self, config: EngineConfig) -> None:
        """From now on these numbers count. No window, pattern, attempt or deadline is lost but by
        smaller bounds, which hold at once, and with a funnel that is gone. A funnel is known by its
        name; where its steps have changed, open attempts are over silently, and what can yet be
        recovered stays so. A deadline that should have passed by now under the new numbers passes
        at the next `observe` or `advance`, as at this time.

        The engine's time is that of its last event or `advance`: call `advance` first, so that the
        time of a change does not depend on when time was let pass before.
        """
        before, self.config = self.config, config
        self._journeys.configure(before, config, self.now)
        for visitor in self._visitors.configure(before, config, self.now):
            if self._capture is not None:
                self._capture.keep_visitor(visitor)
            lost = visitor.window.trim(self.now - config.window_ms, config.max_events)
            self._visitors.bytes += lost
            if visitor.visits is not None:
                visitor.visits.count_busy(config.loop.min_visits)
            self._visitors.count(visitor)
        self._set_rules()
        self._make_room()

    def capture(self) -> Capture:
        """Begin to save the engine as it is now; in slices, while it goes on (see `Capture`). One
        at a time: one that still runs ends without being whole.
        """
        self.drop_capture()
        capture = Capture(
            self.config, self.now, self._tallies, self._visitors, self._journeys, self.drop_capture
        )
        self._capture = self._journeys.keeper = capture
        return capture

    def drop_capture(self) -> None:
        """End the capture that runs, if one does."""
        if self._capture is not None:
            self._capture.end()
        self._capture = self._journeys.keeper = None

    @classmethod
    def restored(cls, pieces: Iterable[bytes]) -> "Engine":
        """The engine that was captured, exactly. Raises SnapshotUnusable, saying why."""
        saved = read(pieces)
        engine = cls(saved.config)
        engine.now = saved.now
        engine._tallies.update(saved.tallies)
        engine._visitors.resume(saved.visitors)
        engine._visitors.evicted = saved.evicted_visitors
        journeys = engine._journeys
        journeys.held.update(
            ((journey.site, journey.user_id, journey.owner), journey) for journey in saved.journeys
        )
        journeys.resume()
        journeys.evicted = saved.evicted_attempts
        return engine

    def gauges(self) -> Gauges:
        """What is held now."""
        return Gauges(
            visitors=len(self._visitors.held),
            bytes=self._visitors.bytes,
            attempts=len(self._journeys.held),
            attempt_bytes=self._journeys.bytes,
            deadlines=len(self._journeys.deadlines),
            evicted_visitors=self._visitors.evicted,
            evicted_attempts=self._journeys.evicted,
        )

    def identified(self, site: int, user_id: str) -> str:
        """The id that the visitor is known by, or ""."""
        visitor = self._visitors.held.get((site, user_id))
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

    def tallies(self) -> dict[int, dict[str, int]]:
        """The running counts of every site, by name; a copy."""
        return {
            site: {name: getattr(tally, name) for name in Tally.__slots__}
            for site, tally in self._tallies.items()
        }

    def resume_tallies(self, tallies: dict[int, dict[str, int]]) -> None:
        """Go on counting from these (see `tallies`); a count that they do not name stays."""
        for site, counts in tallies.items():
            tally = self._tallies[site]
            for name in Tally.__slots__:
                setattr(tally, name, counts.get(name, getattr(tally, name)))

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

    def _since(self, within_ms: int) -> Iterable[Visitor]:
        """Visitors of every site heard in `(now - within_ms, now]`, newest first."""
        return self._visitors.since(self.now - min(within_ms, self.config.window_ms))

    def window(self, site: int, user_id: str) -> VisitorWindow | None:
        """What the visitor's window holds now; None if nothing."""
        visitor = self._visitors.held.get((site, user_id))
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
        held = self._visitors.held
        visitor = held.get(key)
        if visitor is not None:
            if self._capture is not None:
                self._capture.keep_visitor(visitor)
            held.move_to_end(key)
            return visitor
        names = (rule.known_as(event.site, event.user_id, self.now) for rule in self._rules)
        visitor = Visitor(event.site, event.user_id, next(filter(None, names), ""))
        held[key] = visitor
        if len(held) > self.config.max_visitors:
            self._visitors.make_room(self.config.max_visitors, self.config.max_bytes)
        return visitor

    def _make_room(self) -> None:
        """Hold no more than may be held."""
        config = self.config
        visitors, journeys = self._visitors, self._journeys
        visitors.make_room(config.max_visitors, config.max_bytes)
        journeys.make_room(config.max_visitors, config.attempt_bytes)


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
