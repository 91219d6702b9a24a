"""Abandonment: a visitor enters a funnel and goes away without completing it. Always high.

**Funnels.** A site may have funnels of its own; one without follows those that are everyone's.

**Attempts.** An attempt opens on any step of the funnel, with a `navigate`, or with a `click`,
`scroll`, `idle` or `tab_visible` there: a visitor given up as gone who comes back to the tab they
left does not navigate. `leave` and `tab_hidden` never open one, nor does what
comes late of an earlier view. It is *entered* when it reaches a
step beyond the first; its step is the furthest reached, and going back a step is not leaving. What
a visitor does on the page where they have just completed or abandoned (by their own act) opens
nothing until they navigate or are forgotten: it belongs to what is over. An attempt lives apart
from the window and outlives it. Where there are more attempts than `max_visitors`, or they hold
more than a quarter of `max_bytes`, those longest unheard are forgotten, with what could yet be
recovered of them: silently, so that one that was entered counts as entered and as nothing else.

**It closes**

- by completion: a completing action anywhere, or a navigation to a completing page;
- by abandonment, if it is entered:
    - *navigated*: a navigation to a page outside the funnel;
    - *abandon*: an `abandon` action, anywhere;
    - *closed*: a `leave`, and nothing more heard for `leave_grace_ms`. Any later event but `leave`
      and `tab_hidden` cancels it (a closing tab is hidden too); a second `leave` does not postpone;
    - *hidden*: hidden, and nothing heard for `hidden_silence_ms`;
- silently, by one of the first two if it is not entered;
- silently, after `attempt_timeout_ms` without events.

Events of an earlier view that say hidden or left are not heard (see `visitor`). What is due
happens when due <= now, before an event that arrives at that very time, and in the order (due,
site, visitor), detected when due.

**Pattern.** Place: the funnel's name, a colon, the furthest step; page: that step. The cooldown
applies: a second attempt abandoned at the same step within it emits nothing, and counts in the
rate. **Evidence**: the first event at each step, and the event with which the visitor left.

**Recovery.** A completion recovers every abandonment of that visitor and funnel less than
`recovery_ms` old (the 16 newest are remembered), with or without an open attempt: once for each
pattern, and each is out of the rate. A recovered pattern no longer stands for its place: a further
abandonment there opens a new one, unless it falls on the very millisecond of the recovered one,
whose id it would have.

**Rate.** Abandoned and not recovered, of the attempts entered (`snapshots.SiteStats`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..events import Event
from ..patterns import Change
from ..snapshots import Tally
from ..standing import Finding, Standing, open_pattern, verdict
from ..validation import require
from ..visitor import Visitor
from .base import Rule
from .departure import NAME, departure, recovery
from .funnel import Funnel
from .journey import Journey, lost
from .journeys import Journeys, Key

if TYPE_CHECKING:
    from ..config import EngineConfig

STAYING: Final = frozenset({"click", "scroll", "idle", "tab_visible"})
OPENING: Final = STAYING | {"navigate"}
EVERYONE: Final = 0  # the site of a funnel that holds wherever there is no other


@dataclass(frozen=True, slots=True)
class AbandonmentSettings:
    """The funnels of all sites; a site with none, its own or everyone's, has nothing to abandon.
    Their numbers are their own. Raises ValueError if two of one site have the same name.
    """

    funnels: tuple[Funnel, ...] = (Funnel(),)

    def __post_init__(self) -> None:
        names = [(funnel.site, funnel.name) for funnel in self.funnels]
        require(len(set(names)) == len(names), "two funnels have the same name")


class Abandonment(Rule):
    """The rule; the module's docstring defines it. Each funnel is watched by itself."""

    name = NAME

    def __init__(
        self, config: "EngineConfig", journeys: Journeys, tallies: dict[int, Tally]
    ) -> None:
        self._watches: dict[int, tuple[FunnelWatch, ...]] = {EVERYONE: ()}
        for funnel in config.abandonment.funnels:  # in their order, which is their owner's number
            watch = FunnelWatch(funnel, config.cooldown_ms, journeys, tallies)
            self._watches[funnel.site] = (*self._watches.get(funnel.site, ()), watch)

    def _of(self, site: int) -> tuple["FunnelWatch", ...]:
        return self._watches.get(site) or self._watches[EVERYONE]

    def observe(self, visitor: Visitor, event: Event, now: int) -> Sequence[Change]:
        changes: Sequence[Change] = ()
        for watch in self._of(event.site):
            found = watch.observe(visitor, event, now)
            if found:
                changes = (*changes, *found)
        return changes

    def known_as(self, site: int, user_id: str, now: int) -> str:
        names = (watch.known_as(site, user_id, now) for watch in self._of(site))
        return next(filter(None, names), "")


class FunnelWatch:
    """Every visitor's journey through one funnel."""

    def __init__(
        self, funnel: Funnel, cooldown_ms: int, journeys: Journeys, tallies: dict[int, Tally]
    ) -> None:
        self._funnel = funnel
        self._cooldown_ms = cooldown_ms
        self._keep_ms = funnel.keep_ms(cooldown_ms)
        self._index = {page: index for index, page in enumerate(funnel.steps)}
        self._tallies = tallies
        self._journeys = journeys
        self._held = journeys.held
        self._owner = journeys.deadlines.register(self.wake)

    def observe(self, visitor: Visitor, event: Event, now: int) -> Sequence[Change]:
        """What a heard event changes; most events meet no journey and begin none."""
        key = (event.site, event.user_id, self._owner)
        index = self._index.get(event.page)
        journey = self._held.get(key)
        staying = event.action in STAYING
        if journey is None or not journey.alive(now):
            if index is None or event.action not in OPENING or (staying and visitor.earlier(event)):
                return ()
            journey = self._journeys.begin(key, visitor)
        else:
            if self._journeys.keeper is not None:
                self._journeys.touch(journey)
            self._held.move_to_end(key)
        changed = journey.hear(event, now, self._funnel)
        if staying and (index is None or index in journey.steps or visitor.earlier(event)):
            if changed:
                self._journeys.count(journey)
            return ()  # all it can do is to move the deadlines away
        if event.action == "identify":
            journey.identified = visitor.identified
        changes = self._follow(journey, event, now)
        self._arm(key, journey, now)
        return changes

    def known_as(self, site: int, user_id: str, now: int) -> str:
        """The known id of a visitor with a living journey, or ""."""
        journey = self._held.get((site, user_id, self._owner))
        return journey.identified if journey is not None and journey.alive(now) else ""

    def wake(self, due: int, site: int, user_id: str) -> Sequence[Change]:
        """A wake-up has come: perhaps too early, perhaps to find nothing."""
        key = (site, user_id, self._owner)
        journey = self._held[key]
        self._journeys.touch(journey)
        journey.wakes.pop()
        changes: Sequence[Change] = ()
        if journey.steps and journey.due(self._funnel) <= due:
            changes = self._run_out(journey, due)
        self._arm(key, journey, due)
        return changes

    def _arm(self, key: Key, journey: Journey, now: int) -> None:
        """See that it is woken in time; drop it once it is not alive and nothing will wake it."""
        if journey.alive(now):
            self._journeys.arm(journey, journey.due(self._funnel))
        elif not journey.wakes:
            self._journeys.drop(key)
            return
        self._journeys.count(journey)

    def _follow(self, journey: Journey, event: Event, now: int) -> Sequence[Change]:
        action, page = event.action, event.page
        navigated = action == "navigate"
        if action in self._funnel.completion_actions or (
            navigated and page in self._funnel.completion_pages
        ):
            return self._complete(journey, event, now)
        if action == "abandon":
            changes = self._go(journey, "abandon", event, now)
            self._settle(journey, page, now)
            return changes
        index = self._index.get(page)
        if index is None:
            return self._go(journey, "navigated", event, now) if navigated else ()
        if action in OPENING and (journey.steps or page != journey.settled):
            self._reach(journey, index, event)
        return ()

    def _reach(self, journey: Journey, index: int, event: Event) -> None:
        journey.settled = ""
        journey.reach(index, event)
        if index > journey.furthest:
            if not journey.entered:
                self._tallies[journey.site].entered += 1
            journey.furthest = index

    def _settle(self, journey: Journey, page: str, now: int) -> None:
        journey.settled = page
        journey.keep_until = max(journey.keep_until, now + self._keep_ms)

    def _run_out(self, journey: Journey, due: int) -> Sequence[Change]:
        """The open attempt's deadline has come."""
        if journey.entered and journey.left is not None and journey.leave_due <= due:
            return self._go(journey, "closed", journey.left, due)
        if journey.entered and journey.hidden:
            silent_until = journey.heard + self._funnel.hidden_silence_ms
            if silent_until <= due:
                return self._go(journey, "hidden", journey.hidden_by, due)
        journey.close()
        return ()

    def _go(
        self, journey: Journey, left_by: str, event: Event | None, now: int
    ) -> Sequence[Change]:
        """The visitor is gone: an entered attempt is abandoned, another is dropped."""
        if not journey.entered:
            journey.close()
            return ()
        self._tallies[journey.site].abandoned += 1
        finding = departure(self._funnel, journey, left_by, event)
        journey.close()
        standing, changes = self._tell(journey, finding, now)
        journey.remember(lost(now, standing, finding), now + self._keep_ms)
        return changes

    def _tell(
        self, journey: Journey, finding: Finding, now: int
    ) -> tuple[Standing | None, Sequence[Change]]:
        """The pattern that tells of an abandonment, and its change if it is a new one."""
        standing = journey.standings.get(finding.place)
        if standing is not None and standing.recovered:
            if standing.detected_at == now:
                return None, ()
        elif verdict(standing, finding.severity, now, self._cooldown_ms) is None:
            return standing, ()
        opened, change = open_pattern(journey, finding, now)
        journey.standings[finding.place] = opened
        return opened, (change,)

    def _complete(self, journey: Journey, event: Event, now: int) -> Sequence[Change]:
        journey.close()
        self._settle(journey, event.page, now)
        recovered = [loss for loss in journey.losses if now - loss.at < self._funnel.recovery_ms]
        journey.losses = ()
        self._tallies[journey.site].abandoned -= len(recovered)
        changes: list[Change] = []
        for loss in recovered:
            if loss.standing is not None and not loss.standing.recovered:
                changes.append(recovery(journey, loss.standing, loss.finding, event, now))
        journey.weigh()
        return changes
