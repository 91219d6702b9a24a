"""Navigation loop: a visitor goes round the same pages and finds nothing new.

**Visits.** A visit is a `navigate` to a page other than the current one (see `visitor`); reloads
are none. Each visit is labelled when it happens: *new*, to a page not among the visits in the
window, or a *return*. A return is *fruitless* if no visit labelled new has happened since the
previous visit to its page. A visit keeps its label until it leaves the window, by time or by the
limit on events. So `A B A B A` holds two fruitless returns (the second `B` and the third `A`);
`A B A C A D A`, a list and ever new items, holds none.

**When.** At a visit, if some page has at least `min_visits` visits in the window and the window
holds at least `low_returns` fruitless returns of any page: low; from `medium_returns` on medium,
from `high_returns` on high. A `navigate` makes a visitor visible, so that a hidden one has no
visits.

**Place.** The pages in the loop, sorted and joined by a space: those of the fruitless returns in
the window, and those visited between each and its previous visit, as far as the window holds them.
`page` is the most visited of them; of several, the one visited last.

**One loop is one pattern.** A loop is open from its detection for as long as the condition above
holds at every visit, both before the visit is added (with what has left the window gone) and
after. The open loop's pattern escalates when the severity rises above its own and is silent
otherwise, even when the set of pages has grown or the cooldown has passed; it keeps its place.
Once the condition has ceased to hold, the next detection goes by the cooldown: within it the loop
continues the last pattern of its place (escalating it if more severe), afterwards it opens a new
one.

**Evidence**: the visits in the window to the pages of the loop, the newest 20 where there are more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..events import Event
from ..patterns import Change, ChangeKind, Severity
from ..snapshots import Tally
from ..standing import EVIDENCE_EVENTS, Finding, Standing, Subject, escalate, open_pattern, verdict
from ..validation import require, require_rising
from ..visitor import Visitor
from ..wording import count, duration, page_list, page_name, who
from .base import Rule
from .visits import Visit, Visits

if TYPE_CHECKING:
    from ..config import EngineConfig
    from .journeys import Journeys

FACT_PAGES: Final = 20  # pages of the loop that the facts name


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """The numbers of the definition above, all counts. Raises ValueError for nonsense."""

    min_visits: int = 3
    low_returns: int = 2
    medium_returns: int = 4
    high_returns: int = 6

    def __post_init__(self) -> None:
        require_rising(self, "low_returns", "medium_returns", "high_returns")
        require(
            isinstance(self.min_visits, int) and self.min_visits >= 2,
            f"min_visits must be at least 2, not {self.min_visits!r}",
        )


class NavigationLoop(Rule):
    """The rule; the module's docstring defines it."""

    name = "navigation-loop"
    actions = frozenset({"navigate"})

    def __init__(
        self, config: "EngineConfig", journeys: "Journeys", tallies: dict[int, Tally]
    ) -> None:
        self._settings = config.loop
        self._cooldown_ms = config.cooldown_ms
        self._max_standing = config.max_standing

    def observe(self, visitor: Visitor, event: Event, now: int) -> Sequence[Change]:
        if event.page == visitor.page:
            return ()
        visits = visitor.visits
        if visits is None:
            visits = visitor.visits = Visits(self._settings.min_visits)
        window = visitor.window
        visits.forget_before(window.first)
        if visits.open_loop is not None and self._severity(visits) is None:
            self._go_round(visitor, visits, None)
        visits.add(window.last, event.page)
        visitor.grown = True
        severity = self._severity(visits)
        if severity is None:
            return ()
        if visits.open_loop is None:
            return self._detect(visitor, visits, severity, now)
        if severity <= visits.open_loop.severity:
            return ()
        return self._raise(visitor, visits, self._finding(visitor, visits, severity), now)

    def _severity(self, visits: Visits) -> Severity | None:
        settings = self._settings
        fruitless = visits.fruitless
        if not visits.busy or fruitless < settings.low_returns:
            return None
        if fruitless >= settings.high_returns:
            return Severity.HIGH
        return Severity.MEDIUM if fruitless >= settings.medium_returns else Severity.LOW

    def _detect(
        self, visitor: Visitor, visits: Visits, severity: Severity, now: int
    ) -> Sequence[Change]:
        """A loop that is not open yet: by the cooldown of its place."""
        finding = self._finding(visitor, visits, severity)
        standing = visitor.standing(self.name, finding.place)
        kind = verdict(standing, severity, now, self._cooldown_ms)
        if kind is not ChangeKind.OPENED:
            self._go_round(visitor, visits, standing)
            return self._raise(visitor, visits, finding, now) if kind else ()
        if not visitor.may_open(now, self._cooldown_ms, self._max_standing):
            return ()
        standing, change = open_pattern(visitor, finding, now)
        visitor.stand(self.name, standing)
        self._go_round(visitor, visits, standing)
        return (change,)

    def _go_round(self, visitor: Visitor, visits: Visits, loop: Standing | None) -> None:
        """The loop that is open now."""
        visits.open_loop = loop
        visitor.weigh_told()

    def _raise(
        self, visitor: Visitor, visits: Visits, finding: Finding, now: int
    ) -> Sequence[Change]:
        standing = visits.open_loop
        if standing is None:
            return ()
        change = escalate(standing, visitor, finding, now)
        visitor.stand(self.name, standing)
        return (change,)

    def _finding(self, visitor: Visitor, visits: Visits, severity: Severity) -> Finding:
        loop = visits.loop()
        pages = sorted({visit.page for visit in loop})
        page = max(pages, key=lambda page: (visits.pages[page].count, visits.pages[page].last))
        facts = self._facts(visitor, visits, loop, pages, page)
        return Finding(
            type=self.name,
            place=" ".join(pages),
            page=page,
            severity=severity,
            explanation=explain(visitor, facts),
            facts=facts,
            events=tuple(visitor.window.event(visit.number) for visit in loop[-EVIDENCE_EVENTS:]),
        )

    def _facts(
        self, visitor: Visitor, visits: Visits, loop: list[Visit], pages: list[str], page: str
    ) -> dict[str, Any]:
        window = visitor.window
        span = window.event(loop[-1].number).timestamp - window.event(loop[0].number).timestamp
        return {
            "page": page,
            "page_visits": visits.pages[page].count,
            "pages": pages[:FACT_PAGES],
            "pages_count": len(pages),
            "visits": len(loop),
            "returns": visits.fruitless,
            "span_ms": span,
            "span": duration(span),
        }


def explain(subject: Subject, facts: dict[str, Any]) -> str:
    """What happened, in two sentences, from the facts alone."""
    pages = page_list(facts["pages"], facts["pages_count"])
    went = "went back and forth between" if facts["pages_count"] > 1 else "kept going back to"
    return (
        f"{who(subject)} {went} {pages}: {count(facts['visits'], 'visit')} in {facts['span']}. "
        f"{count(facts['returns'], 'return')} reached nothing new, "
        f"and {page_name(facts['page'])} was visited {count(facts['page_visits'], 'time')}."
    )
