"""From what a rule has found to a pattern and its changes.

**Cooldown.** A pattern stands for its key (visitor, type, place) from its last emission or
escalation at `at` while `now - at < cooldown_ms`. While it stands, a higher severity escalates it
and an equal or lower one is silent; afterwards the next finding opens a new pattern. Two rules know
more about what is the same thing (an idle spell, an open loop) and say so in their definitions.

**Id.** URL-safe base64, without padding, of a 16-byte BLAKE2b digest over site, visitor, type,
place and detected_at, each preceded by its length.

**Evidence.** `{"facts": {...}, "events": [...]}`: the numbers that the explanation uses, and at
most 20 events that opened or raised the pattern, oldest first, in the wire's shape. Where there
are more, the newest.
"""

import base64
import hashlib
from collections.abc import Iterable
from typing import Any, Final, Protocol

import msgspec

from .events import Event
from .patterns import Change, ChangeKind, Pattern, Severity

EVIDENCE_EVENTS: Final = 20
EVIDENCE_TEXT: Final = 100  # characters of a metadata value; a pattern is kept for long


class Subject(Protocol):
    """Whom a pattern is about."""

    site: int
    user_id: str
    identified: str


class Finding(msgspec.Struct, frozen=True, gc=False):
    """What a rule has just seen. `facts` hold only JSON types; the explanation uses only them."""

    type: str
    place: str
    page: str
    severity: Severity
    explanation: str
    facts: dict[str, Any]
    events: tuple[Event, ...]


class Standing(msgspec.Struct, gc=False):
    """An emitted pattern, as far as it is needed to escalate it or to keep quiet about it.

    at: when it was last emitted or escalated, ms.
    mark: the start of the idle spell it is about; 0 for other rules.
    events: those of its evidence.
    recovered: the visitor completed after all; it stands for nothing any more.
    """

    pattern_id: str
    place: str
    severity: Severity
    detected_at: int
    at: int
    mark: int
    events: tuple[Event, ...]
    recovered: bool = False


def verdict(
    standing: Standing | None, severity: Severity, now: int, cooldown_ms: int
) -> ChangeKind | None:
    """By the cooldown: OPENED, ESCALATED, or None for silence."""
    if standing is None or now - standing.at >= cooldown_ms:
        return ChangeKind.OPENED
    return ChangeKind.ESCALATED if severity > standing.severity else None


def open_pattern(
    subject: Subject, finding: Finding, now: int, mark: int = 0
) -> tuple[Standing, Change]:
    """A new pattern, detected now."""
    standing = Standing(
        pattern_id=pattern_id(subject, finding.type, finding.place, now),
        place=finding.place,
        severity=finding.severity,
        detected_at=now,
        at=now,
        mark=mark,
        events=finding.events[-EVIDENCE_EVENTS:],
    )
    return standing, change(ChangeKind.OPENED, standing, subject, finding, now)


def escalate(
    standing: Standing, subject: Subject, finding: Finding, now: int, mark: int = 0
) -> Change:
    """The same pattern, more severe: same id and place, new text, the raising events added."""
    standing.severity = finding.severity
    standing.at = now
    standing.mark = mark
    standing.events = merged(standing.events, finding.events)
    return change(ChangeKind.ESCALATED, standing, subject, finding, now)


def change(
    kind: ChangeKind, standing: Standing, subject: Subject, finding: Finding, now: int
) -> Change:
    """One step of a standing pattern, with everything about the pattern as it stands after it."""
    pattern = Pattern(
        pattern_id=standing.pattern_id,
        site=subject.site,
        user_id=subject.user_id,
        identified=subject.identified,
        type=finding.type,
        place=standing.place,
        page=finding.page,
        severity=standing.severity,
        explanation=finding.explanation,
        evidence={
            "facts": dict(finding.facts),
            "events": [_kept(event) for event in standing.events],
        },
        detected_at=standing.detected_at,
    )
    return Change(kind=kind, pattern=pattern, at=now)


def merged(told: tuple[Event, ...], new: tuple[Event, ...]) -> tuple[Event, ...]:
    """Both without repetition, by time, the newest that evidence has room for."""
    known = set(map(id, told))
    every = told + tuple(event for event in new if id(event) not in known)
    return tuple(sorted(every, key=lambda event: event.timestamp)[-EVIDENCE_EVENTS:])


def pattern_id(subject: Subject, type_: str, place: str, detected_at: int) -> str:
    """The id of a pattern: 22 characters out of `A-Z a-z 0-9 - _`."""
    parts: Iterable[object] = (subject.site, subject.user_id, type_, place, detected_at)
    text = "".join(f"{len(str(part))}:{part}" for part in parts)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def _kept(event: Event) -> dict[str, Any]:
    """An event as evidence keeps it: in the wire's shape, its metadata cut short."""
    wired = event.wire()
    metadata = wired.get("metadata")
    if metadata:
        wired["metadata"] = {key: value[:EVIDENCE_TEXT] for key, value in metadata.items()}
    return wired
