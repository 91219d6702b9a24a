"""Hesitation: a visitor sits idle on the page they are on.

**When.** On an `idle` event of a visible visitor, on their current page (see `visitor`; any page
while it is unknown). Idle for at least `low_ms` is low, `medium_ms` medium, `high_ms` high. Only
the spell now reported counts, never an older one in the window. While hidden, nothing is detected.

**How long.** The event's `duration_ms`: the whole idle time so far, a whole number of ms ("10000",
"10000.0"). Missing or unusable (negative, a fraction, no number), it is the gap since the visitor's
previous event, 0 if there is none. More than `max_duration_ms` counts as that.

**Spells.** A spell starts at the event's timestamp minus the duration. A report whose start lies
within `spell_tolerance_ms` of the start that the page's last pattern stands for is the same spell.

- The same spell is one pattern: a higher severity escalates it whenever it comes, an equal or lower
  one is silent, even after the cooldown.
- Another spell goes by the cooldown: within it a higher severity escalates the page's last pattern,
  which then stands for this spell; an equal or lower one is silent. Afterwards it opens a new one.

**Place and page** are the page. **Evidence**: the `idle` event; where the duration is a gap, the
event before it too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from ..events import Event
from ..patterns import Change, ChangeKind, Severity
from ..snapshots import Tally
from ..standing import Finding, Standing, Subject, escalate, open_pattern, verdict
from ..validation import require, require_positive, require_rising
from ..visitor import NO_TIME, Visitor
from ..wording import duration, page_name, who
from .base import Rule

if TYPE_CHECKING:
    from ..config import EngineConfig
    from .journeys import Journeys


@dataclass(frozen=True, slots=True)
class HesitationSettings:
    """The numbers of the definition above, all in ms. Raises ValueError for nonsense."""

    low_ms: int = 10_000
    medium_ms: int = 20_000
    high_ms: int = 40_000
    spell_tolerance_ms: int = 2_000
    max_duration_ms: int = 3_600_000

    def __post_init__(self) -> None:
        require_rising(self, "low_ms", "medium_ms", "high_ms")
        require_positive(self, "spell_tolerance_ms", "max_duration_ms")
        require(
            self.high_ms <= self.max_duration_ms,
            f"high_ms ({self.high_ms}) must not exceed max_duration_ms ({self.max_duration_ms})",
        )


class Hesitation(Rule):
    """The rule; the module's docstring defines it."""

    name = "hesitation"
    actions = frozenset({"idle"})

    def __init__(
        self, config: "EngineConfig", journeys: "Journeys", tallies: dict[int, Tally]
    ) -> None:
        self._settings = config.hesitation
        self._cooldown_ms = config.cooldown_ms
        self._max_standing = config.max_standing

    def observe(self, visitor: Visitor, event: Event, now: int) -> Sequence[Change]:
        if visitor.hidden or visitor.page not in {"", event.page}:
            return ()
        reported = reported_duration(event)
        idle_ms = self._idle_ms(visitor, event, reported)
        severity = self._severity(idle_ms)
        if severity is None:
            return ()
        start = event.timestamp - idle_ms
        standing = visitor.standing(self.name, event.page)
        kind = self._verdict(standing, severity, start, now)
        if kind is None:
            return ()
        finding = self._finding(visitor, event, severity, idle_ms, reported is not None)
        if kind is ChangeKind.ESCALATED and standing is not None:
            same = self._same_spell(standing, start)
            mark = standing.mark if same else start
            change = escalate(standing, visitor, finding, now, mark)
            visitor.weigh_told()
            return (change,)
        if not visitor.may_open(now, self._cooldown_ms, self._max_standing):
            return ()
        standing, change = open_pattern(visitor, finding, now, mark=start)
        visitor.stand(self.name, standing)
        return (change,)

    def _idle_ms(self, visitor: Visitor, event: Event, reported: int | None) -> int:
        if reported is None:
            reported = 0 if visitor.last == NO_TIME else event.timestamp - visitor.last
        return min(reported, self._settings.max_duration_ms)

    def _severity(self, idle_ms: int) -> Severity | None:
        settings = self._settings
        if idle_ms >= settings.high_ms:
            return Severity.HIGH
        if idle_ms >= settings.medium_ms:
            return Severity.MEDIUM
        return Severity.LOW if idle_ms >= settings.low_ms else None

    def _same_spell(self, standing: Standing, start: int) -> bool:
        return abs(start - standing.mark) <= self._settings.spell_tolerance_ms

    def _verdict(
        self, standing: Standing | None, severity: Severity, start: int, now: int
    ) -> ChangeKind | None:
        if standing is not None and self._same_spell(standing, start):
            return ChangeKind.ESCALATED if severity > standing.severity else None
        return verdict(standing, severity, now, self._cooldown_ms)

    def _finding(
        self, visitor: Visitor, event: Event, severity: Severity, idle_ms: int, reported: bool
    ) -> Finding:
        facts: dict[str, Any] = {
            "page": event.page,
            "idle_ms": idle_ms,
            "idle": duration(idle_ms),
            "idle_since": event.timestamp - idle_ms,
            "measured": "reported" if reported else "gap",
        }
        return Finding(
            type=self.name,
            place=event.page,
            page=event.page,
            severity=severity,
            explanation=explain(visitor, facts),
            facts=facts,
            events=visitor.window.newest(1 if reported else 2),
        )


def reported_duration(event: Event) -> int | None:
    """The event's `duration_ms` in ms, or None where it is missing or unusable."""
    text = (event.metadata or {}).get("duration_ms", "")
    if not text.isascii() or "_" in text:
        return None
    if text.isdigit():
        return int(text)
    try:
        number = float(text)
    except ValueError:
        return None
    usable = isfinite(number) and number >= 0 and number.is_integer()
    return int(number) if usable else None


def explain(subject: Subject, facts: dict[str, Any]) -> str:
    """What happened, in one sentence, from the facts alone."""
    return f"{who(subject)} was idle on {page_name(facts['page'])} for {facts['idle']}."
