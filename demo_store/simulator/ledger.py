"""The books of a run: what was sent and answered, what had to be seen, and what was.

Pure bookkeeping. Every `now` is a monotonic clock's seconds.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from demo_store.simulator.scenarios import SCENARIOS, Scenario, Step

# A journey that has ended is remembered this long, for patterns that come late.
REMEMBERED_S: Final = 600.0
EXAMPLES: Final = 3
LATEST: Final = 5


@dataclass(eq=False)
class Journey:
    """One visitor's way through one scenario."""

    user_id: str
    scenario: Scenario
    refused: bool = False  # an event was refused, so nothing further can be expected
    outstanding: dict[str, float] = field(default_factory=dict)  # type -> seen by then
    seen: dict[str, str] = field(default_factory=dict)  # type -> pattern id


@dataclass(frozen=True)
class Outgoing:
    """An event on its way. body: as it stands on the wire."""

    journey: Journey
    step: Step
    body: dict[str, Any]


@dataclass
class Tally:
    """Counts of one scenario. seen: of the expected ones."""

    started: int = 0
    finished: int = 0
    running: int = 0
    expected: int = 0
    seen: int = 0
    unexpected: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Sighting:
    """A pattern as the server described it last."""

    pattern_id: str
    scenario: str
    type: str
    severity: str
    explanation: str


class Ledger:
    """grace_s: how long after its last event a pattern may take to be seen.
    leave_grace_s: how much longer the server waits before it calls a left page abandoned."""

    def __init__(self, grace_s: float = 10.0, leave_grace_s: float = 30.0) -> None:
        self.grace_s = grace_s
        self.leave_grace_s = leave_grace_s
        self.recorded = 0
        self.sent = 0
        self.accepted = 0
        self.refused = 0
        self.refusals: dict[str, int] = {}
        self.failures = 0  # requests that got no usable answer, and were tried again
        self.too_fast = 0  # of them, those that the server said come too fast
        self.away = ""  # what the last request failed with, while the server is away
        self.reached = False
        self.blind = ""  # why patterns cannot be read, where they cannot
        self.tallies: dict[str, Tally] = {scenario.name: Tally() for scenario in SCENARIOS}
        self.latest: deque[Sighting] = deque(maxlen=LATEST)
        self._journeys: dict[str, Journey] = {}
        self._ended: deque[tuple[float, Journey]] = deque()

    # --- journeys -----------------------------------------------------------------
    def begin(self, user_id: str, scenario: Scenario) -> Journey:
        journey = Journey(user_id, scenario)
        self._journeys[user_id] = journey
        tally = self.tallies[scenario.name]
        tally.started += 1
        tally.running += 1
        return journey

    def end(self, journey: Journey, now: float, finished: bool) -> None:
        """finished: played to its last step, rather than cut short."""
        tally = self.tallies[journey.scenario.name]
        tally.running -= 1
        tally.finished += finished
        self._ended.append((now, journey))
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._ended and self._ended[0][0] < now - REMEMBERED_S:
            self._journeys.pop(self._ended.popleft()[1].user_id, None)

    # --- events -------------------------------------------------------------------
    def accept(self, items: Iterable[Outgoing], now: float) -> None:
        for item in items:
            self.accepted += 1
            if item.step.expects and not item.journey.refused:
                self._expect(item.journey, item.step, now)

    def refuse(self, items: Iterable[Outgoing], reason: str) -> None:
        for item in items:
            self.refused += 1
            item.journey.refused = True
            self.refusals[reason] = self.refusals.get(reason, 0) + 1

    def _expect(self, journey: Journey, step: Step, now: float) -> None:
        tally = self.tallies[journey.scenario.name]
        tally.expected += 1
        if step.expects in journey.seen:
            tally.seen += 1
            return
        due = now + self.grace_s + (self.leave_grace_s if step.action == "leave" else 0)
        journey.outstanding[step.expects] = due

    # --- patterns -----------------------------------------------------------------
    def sight(self, pattern: dict[str, Any]) -> None:
        """Book a pattern in the query API's shape; other visitors' patterns are passed over."""
        journey = self._journeys.get(str(pattern.get("user_id", "")))
        if journey is None:
            return
        sighting = Sighting(
            pattern_id=_plain(pattern.get("pattern_id")),
            scenario=journey.scenario.name,
            type=_plain(pattern.get("type")),
            severity=_plain(pattern.get("severity")),
            explanation=_plain(pattern.get("explanation")),
        )
        self._show(sighting)
        known = journey.seen.get(sighting.type)
        if known == sighting.pattern_id:
            return  # the same pattern, a step further
        if known is None and sighting.type in journey.scenario.expects:
            journey.seen[sighting.type] = sighting.pattern_id
            if journey.outstanding.pop(sighting.type, None) is not None:
                self.tallies[journey.scenario.name].seen += 1
            return
        again = f"{sighting.type} {sighting.pattern_id}"
        if again not in journey.seen:
            journey.seen[again] = sighting.pattern_id
            self._unexpected(sighting)

    def _unexpected(self, sighting: Sighting) -> None:
        tally = self.tallies[sighting.scenario]
        tally.unexpected += 1
        if len(tally.examples) < EXAMPLES:
            tally.examples.append(
                f"{sighting.type} ({sighting.severity}) {sighting.pattern_id}: "
                f"{sighting.explanation}"
            )

    def _show(self, sighting: Sighting) -> None:
        for index, shown in enumerate(self.latest):
            if shown.pattern_id == sighting.pattern_id:
                self.latest[index] = sighting
                return
        self.latest.append(sighting)

    # --- questions ----------------------------------------------------------------
    def outstanding(self) -> list[float]:
        """When each pattern that is expected and not yet seen must have been seen."""
        return [due for journey in self._journeys.values() for due in journey.outstanding.values()]

    @property
    def undelivered(self) -> int:
        """Events recorded that no server has answered for."""
        return self.recorded - self.accepted - self.refused

    def total(self) -> Tally:
        tallies = self.tallies.values()
        return Tally(
            started=sum(tally.started for tally in tallies),
            finished=sum(tally.finished for tally in tallies),
            running=sum(tally.running for tally in tallies),
            expected=sum(tally.expected for tally in tallies),
            seen=sum(tally.seen for tally in tallies),
            unexpected=sum(tally.unexpected for tally in tallies),
        )


def _plain(value: object) -> str:
    """Text from the server without what could steer a terminal."""
    return "".join(char for char in str(value) if char.isprintable())
