"""Every journey, in the order in which they were last heard, and the wake-ups of their attempts.

Journeys outlive their visitors' windows, so they are bounded by themselves: where there are too
many, or they hold too much, the one longest unheard is dropped with its wake-ups, and counted.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ..deadlines import Deadlines
from ..visitor import Visitor
from .funnel import Funnel
from .journey import Journey

if TYPE_CHECKING:
    from ..config import EngineConfig

Key = tuple[int, str, int]  # site, visitor, owner (the number of the funnel)


class Keeper(Protocol):
    """Keeps a journey as it is, before it changes."""

    def keep_journey(self, journey: Journey) -> None: ...


class Journeys:
    """Every visitor's way through every funnel.

    held: by key, longest unheard first. bytes: what they hold. evicted: how many had to go.
    changed: whether they may hold more than when room was last made.
    keeper: sees each journey before it changes, while there is one.
    """

    __slots__ = ("bytes", "changed", "deadlines", "evicted", "held", "keeper")

    def __init__(self) -> None:
        self.held: OrderedDict[Key, Journey] = OrderedDict()
        self.bytes = 0
        self.changed = False
        self.evicted = 0
        self.deadlines = Deadlines(self._wakes)
        self.keeper: Keeper | None = None

    def begin(self, key: Key, visitor: Visitor) -> Journey:
        """A journey of which nothing is remembered."""
        journey = self.held.get(key)
        if journey is None:
            journey = self.held[key] = Journey(*key)
        else:
            self.touch(journey)
            self.held.move_to_end(key)
        journey.begin_anew(visitor.identified, visitor.hidden)
        return journey

    def touch(self, journey: Journey) -> None:
        """A journey is about to change."""
        if self.keeper is not None:
            self.keeper.keep_journey(journey)

    def arm(self, journey: Journey, due: int) -> None:
        """See that it is woken at due, at the latest."""
        self.deadlines.arm(journey.wakes, due, journey.site, journey.user_id, journey.owner)

    def count(self, journey: Journey) -> None:
        """It has changed: count what it holds."""
        self.changed = True
        held = journey.bytes()
        self.bytes += held - journey.counted
        journey.counted = held

    def drop(self, key: Key) -> None:
        """Forget it, and let nothing wake it."""
        journey = self.held.pop(key)
        self.bytes -= journey.counted
        if journey.wakes:
            self.deadlines.leave_behind(len(journey.wakes))

    def make_room(self, most: int, most_bytes: int) -> None:
        """Evict those longest unheard while there are more than `most` or they hold more than
        `most_bytes`; never the last one.
        """
        self.changed = False
        held = self.held
        while len(held) > 1 and (len(held) > most or self.bytes > most_bytes):
            self.drop(next(iter(held)))
            self.evicted += 1

    def configure(self, before: "EngineConfig", after: "EngineConfig", now: int) -> None:
        """Other funnels, or other numbers. A journey follows its funnel's name, to its site's own
        funnels once there are some, and is dropped where that is gone, or where nothing is
        remembered.
        """
        old, new = before.abandonment.funnels, after.abandonment.funnels
        cooldowns = (before.cooldown_ms, after.cooldown_ms)
        if old == new and cooldowns[0] == cooldowns[1]:
            return
        owners = {(funnel.site, funnel.name): owner for owner, funnel in enumerate(new)}
        own = {funnel.site for funnel in new}
        journeys = list(self.held.values())
        self.held = OrderedDict()
        self.bytes = 0
        for journey in journeys:
            before_funnel = old[journey.owner]
            site = journey.site if journey.site in own else 0
            owner = owners.get((site, before_funnel.name))
            if owner is None or not journey.alive(now):
                continue
            self.touch(journey)
            journey.change_terms(before_funnel, new[owner], cooldowns)
            if journey.alive(now):
                journey.owner = owner
                self.held[journey.site, journey.user_id, owner] = journey
        self._wake_anew(new, now)

    def _wake_anew(self, funnels: Sequence[Funnel], now: int) -> None:
        """Arm what has come nearer: what should have been by now, is due now."""
        self.resume()
        for journey in self.held.values():
            self.arm(journey, max(now, journey.due(funnels[journey.owner])))
            self.count(journey)

    def resume(self) -> None:
        """Make the deadlines from the journeys, and count what these hold."""
        self.deadlines.rebuild(
            (due, journey.site, journey.user_id, journey.owner)
            for journey in self.held.values()
            for due in journey.wakes
        )
        self.bytes = 0
        for journey in self.held.values():
            journey.counted = 0
            self.count(journey)

    def _wakes(self, site: int, user_id: str, owner: int) -> Sequence[int]:
        journey = self.held.get((site, user_id, owner))
        return journey.wakes if journey is not None else ()
