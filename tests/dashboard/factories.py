"""Patterns as the engine and people leave them in the database, for the dashboard's tests."""

from collections.abc import Sequence
from typing import Any

from detection import store
from detection.engine.patterns import Change, ChangeKind, Severity
from detection.engine.patterns import Pattern as Found
from detection.models import Pattern, PatternChange

START = 1_760_000_000_000  # epoch ms


def found(pattern_id: str, **fields: Any) -> Found:
    """A pattern as the engine says it; `detected_at` in ms after START."""
    values: dict[str, Any] = {
        "site": 1,
        "user_id": f"visitor-of-{pattern_id}",
        "identified": "",
        "type": "hesitation",
        "place": "/checkout",
        "page": "/checkout",
        "severity": Severity.LOW,
        "explanation": f"This visitor was idle on /checkout for {pattern_id}.",
        "evidence": {"facts": {}, "events": [step("idle")]},
        "detected_at": 0,
    }
    values |= fields
    return Found(pattern_id=pattern_id, **(values | {"detected_at": START + values["detected_at"]}))


def step(action: str, page: str = "/checkout", at: int = 0, **metadata: str) -> dict[str, Any]:
    """An event of a pattern's evidence."""
    return {
        "user_id": "v",
        "action": action,
        "page": page,
        "timestamp": START + at,
        "metadata": metadata,
    }


def store_pattern(pattern_id: str, **fields: Any) -> Pattern:
    """Store a pattern as just opened."""
    change(ChangeKind.OPENED, found(pattern_id, **fields))
    return Pattern.objects.get(pk=pattern_id)


def change(kind: ChangeKind, pattern: Found, after: int = 0) -> None:
    """Store one step of a pattern, `after` ms past its detection."""
    store.apply([Change(kind=kind, pattern=pattern, at=pattern.detected_at + after)])


def store_patterns(count: int) -> Sequence[Pattern]:
    """So many patterns a second apart, the newest first."""
    ids = [f"p{number:03d}" for number in range(count)]
    changes = [
        Change(ChangeKind.OPENED, one, one.detected_at)
        for one in (found(name, detected_at=i * 1000) for i, name in enumerate(ids))
    ]
    store.apply(changes)
    return list(Pattern.objects.order_by("-detected_at", "-pattern_id"))


def changes_after(sequence: int = 0) -> list[PatternChange]:
    """The steps past a sequence, with their patterns, as a feed is given them."""
    steps = PatternChange.objects.filter(site_id=1, sequence__gt=sequence)
    return list(steps.select_related("pattern").order_by("sequence"))
