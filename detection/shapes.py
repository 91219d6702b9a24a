"""The shapes that API and stream answer with. Times are epoch ms."""

from datetime import datetime
from typing import Any

from ninja import Schema

from detection.clock import to_ms
from detection.engine.events import Event
from detection.engine.patterns import Severity
from detection.models import Pattern, PatternChange


class PatternOut(Schema):
    """A pattern. The first eight fields are the contract; those after them are further facts."""

    pattern_id: str
    type: str
    page: str
    severity: str
    explanation: str
    user_id: str
    detected_at: int
    resolved: bool
    identified: str | None
    place: str
    updated_at: int
    resolved_at: int | None
    resolved_by: str | None
    recovered: bool
    recovered_at: int | None
    note: str
    evidence: dict[str, Any]


class PatternChangeOut(PatternOut):
    """A pattern as one step left it, with that step and its sequence."""

    change: str
    sequence: int
    by: str | None


class StatsOut(Schema):
    """The counters of a site. abandonment_rate is 0-1."""

    total_events: int
    active_users: int
    patterns_detected: int
    abandonment_rate: float
    as_of: int


class EventOut(Schema):
    """An event in the wire's shape."""

    user_id: str
    action: str
    page: str
    timestamp: int
    metadata: dict[str, str]
    view: str = ""


class VisitorOut(Schema):
    """A visitor seen lately. last_seen is the server's time."""

    user_id: str
    current_page: str
    last_seen: int
    identified: str | None = None


class ErrorDetail(Schema):
    """What was wrong, in words, and with which field if with one."""

    code: str
    message: str
    field: str | None


class ErrorOut(Schema):
    """The body of every error."""

    error: ErrorDetail


class HealthOut(Schema):
    """Whether the server lives: ok, or degraded and why."""

    status: str
    timestamp: int
    reasons: list[str] | None = None


class ReadyOut(Schema):
    """Whether the server takes events: ready, or not and why."""

    status: str
    checks: dict[str, bool]
    reasons: list[str] | None = None


def event_out(event: Event) -> EventOut:
    return EventOut(
        user_id=event.user_id,
        action=event.action,
        page=event.page,
        timestamp=event.timestamp,
        metadata=event.metadata or {},
        view=event.view,
    )


def pattern_out(pattern: Pattern) -> PatternOut:
    """The pattern as it stands now."""
    return PatternOut(
        pattern_id=pattern.pattern_id,
        type=pattern.type,
        page=pattern.page,
        severity=pattern.severity_label,
        explanation=pattern.explanation,
        user_id=pattern.user_id,
        detected_at=to_ms(pattern.detected_at),
        resolved=pattern.resolved,
        identified=pattern.identified or None,
        place=pattern.place,
        updated_at=to_ms(pattern.updated_at),
        resolved_at=_ms(pattern.resolved_at),
        resolved_by=pattern.resolved_by or None,
        recovered=pattern.recovered,
        recovered_at=_ms(pattern.recovered_at),
        note=pattern.note,
        evidence=pattern.evidence,
    )


def change_out(change: PatternChange) -> PatternChangeOut:
    """The pattern as `change` left it (its pattern must be loaded with it)."""
    pattern = change.pattern
    return PatternChangeOut(
        pattern_id=pattern.pattern_id,
        type=pattern.type,
        page=pattern.page,
        severity=Severity(change.severity).label,
        explanation=change.explanation,
        user_id=pattern.user_id,
        detected_at=to_ms(pattern.detected_at),
        resolved=change.resolved_at is not None,
        identified=pattern.identified or None,
        place=pattern.place,
        updated_at=to_ms(change.at),
        resolved_at=_ms(change.resolved_at),
        resolved_by=change.resolved_by or None,
        recovered=change.recovered_at is not None,
        recovered_at=_ms(change.recovered_at),
        note=pattern.note,
        evidence=pattern.evidence,
        change=change.kind,
        sequence=change.sequence,
        by=change.actor or None,
    )


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else to_ms(moment)
