"""What the abandonment rule tells: how a visitor left a funnel, and that they came back.

`facts` of a departure: funnel, page (the furthest step), step_number, steps_total, steps (each
with the time it was first reached), left_by (`navigated`, `abandon`, `closed`, `hidden`), went_to
(a page, or ""), elapsed (from the first event of the attempt to the one with which they left), and
silent (how long nothing was heard). A recovery adds recovered_after (since the detection),
recovered_by (the completing action) and recovered_on (its page). Times in ms, and in words.
"""

from typing import Any, Final

import msgspec

from ..events import Event
from ..patterns import Change, ChangeKind, Severity
from ..standing import Finding, Standing, Subject, change, merged, tell_more
from ..wording import duration, page_name, who
from .funnel import Funnel
from .journey import Journey

NAME: Final = "abandonment"


def departure(funnel: Funnel, journey: Journey, left_by: str, event: Event | None) -> Finding:
    """How the visitor left an entered attempt; event: the one with which they did, if known."""
    page = funnel.steps[journey.furthest]
    reached = sorted(journey.steps.items())
    events = merged(tuple(first for _, first in reached), (event,) if event else ())
    silent = {"closed": funnel.leave_grace_ms, "hidden": funnel.hidden_silence_ms}
    silent_ms = silent.get(left_by, 0)
    elapsed_ms = max(0, events[-1].timestamp - events[0].timestamp)
    facts: dict[str, Any] = {
        "funnel": funnel.name,
        "page": page,
        "step_number": journey.furthest + 1,
        "steps_total": len(funnel.steps),
        "steps": [{"page": first.page, "at": first.timestamp} for _, first in reached],
        "left_by": left_by,
        "went_to": event.page if event and left_by == "navigated" else "",
        "elapsed_ms": elapsed_ms,
        "elapsed": duration(elapsed_ms),
        "silent_ms": silent_ms,
        "silent": duration(silent_ms) if silent_ms else "",
    }
    return Finding(
        type=NAME,
        place=f"{funnel.name}:{page}",
        page=page,
        severity=Severity.HIGH,
        explanation=explain(journey, facts),
        facts=facts,
        events=events,
    )


def recovery(
    journey: Journey, standing: Standing, finding: Finding, event: Event, now: int
) -> Change:
    """The visitor came back and completed: the pattern is over, and so is its cooldown."""
    standing.recovered = True
    tell_more(standing, (event,))
    after_ms = now - standing.detected_at
    facts = finding.facts | {
        "recovered_after_ms": after_ms,
        "recovered_after": duration(after_ms),
        "recovered_by": event.action,
        "recovered_on": event.page,
    }
    told = msgspec.structs.replace(
        finding, facts=facts, explanation=explain_recovery(journey, facts)
    )
    return change(ChangeKind.RECOVERED, standing, journey, told, now)


def explain(subject: Subject, facts: dict[str, Any]) -> str:
    """How the visitor left, in one sentence, from the facts alone."""
    after = f"{facts['elapsed']} after starting it"
    if facts["left_by"] == "navigated":
        return f"{_left(subject, facts)} for {page_name(facts['went_to'])}, {after}."
    if facts["left_by"] == "abandon":
        return f"{_left(subject, facts)} {after}, by an abandon action."
    how = "leaving the page" if facts["left_by"] == "closed" else "hiding the tab"
    return f"{_left(subject, facts)} {after}, by {how}, and was silent for {facts['silent']}."


def explain_recovery(subject: Subject, facts: dict[str, Any]) -> str:
    """That the visitor came back and completed it, in one sentence, from the facts alone."""
    after = facts["recovered_after"]
    return f"{_left(subject, facts)} then came back and completed it {after} later."


def _left(subject: Subject, facts: dict[str, Any]) -> str:
    step = f"step {facts['step_number']} of {facts['steps_total']}"
    place = f"{page_name(facts['page'])}, {step},"
    return f"{who(subject)} left the {facts['funnel']} funnel at {place}"
