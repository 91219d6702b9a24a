"""Changes as the engine would say them, made by hand."""

from typing import Any

from detection.engine.patterns import Change, ChangeKind, Pattern, Severity

T0 = 1_800_000_000_000


def pattern(pattern_id: str = "p1", severity: Severity = Severity.LOW, **more: Any) -> Pattern:
    fields: dict[str, Any] = {
        "site": 1,
        "user_id": "u1",
        "identified": "",
        "type": "hesitation",
        "place": "/checkout",
        "page": "/checkout",
        "explanation": f"A {severity.label} thing.",
        "evidence": {"facts": {}, "events": []},
        "detected_at": T0,
    }
    return Pattern(pattern_id=pattern_id, severity=severity, **(fields | more))


def opened(pattern_id: str = "p1", severity: Severity = Severity.LOW, **more: Any) -> Change:
    made = pattern(pattern_id, severity, **more)
    return Change(ChangeKind.OPENED, made, made.detected_at)


def escalated(
    pattern_id: str = "p1", severity: Severity = Severity.MEDIUM, at: int = T0 + 10, **more: Any
) -> Change:
    return Change(ChangeKind.ESCALATED, pattern(pattern_id, severity, **more), at)


def recovered(pattern_id: str = "p1", at: int = T0 + 20, **more: Any) -> Change:
    return Change(ChangeKind.RECOVERED, pattern(pattern_id, Severity.HIGH, **more), at)
