"""From what a rule has found to a pattern and its changes.

**Cooldown.** A pattern stands for its key (visitor, type, place) from its last emission or
escalation at `at` while `now - at < cooldown_ms`. While it stands, a higher severity escalates it
and an equal or lower one is silent; afterwards the next finding opens a new pattern. Two rules know
more about what is the same thing (an idle spell, an open loop) and say so in their definitions.

**Id.** URL-safe base64, without padding, of a 16-byte BLAKE2b digest over site, visitor, type,
place and detected_at, each preceded by its length.

**Evidence.** `{"facts": {...}, "events": [...]}`: the numbers that the explanation uses, and at
most 20 events that opened or raised the pattern, oldest first, in the wire's shape. Where there
are more, the newest. What is kept of an event beyond its window is no more than evidence shows:
the values of its metadata are cut.
"""

import base64
import hashlib
from collections.abc import Iterable
from operator import attrgetter
from typing import Any, Final, Protocol

import msgspec

from .events import Event
from .patterns import Change, ChangeKind, Pattern, Severity
from .sizes import STANDING, event_bytes, text_bytes

EVIDENCE_EVENTS: Final = 20
EVIDENCE_TEXT: Final = 100  # characters of a metadata value; a pattern is kept for long

_timestamp: Final = attrgetter("timestamp")


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
    events: those of its evidence, trimmed.
    bytes: what it holds.
    recovered: the visitor completed after all; it stands for nothing any more.
    """

    pattern_id: str
    place: str
    severity: Severity
    detected_at: int
    at: int
    mark: int
    events: tuple[Event, ...]
    bytes: int = 0
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
        events=merged((), finding.events),
    )
    weigh(standing)
    return standing, change(ChangeKind.OPENED, standing, subject, finding, now)


def escalate(
    standing: Standing, subject: Subject, finding: Finding, now: int, mark: int = 0
) -> Change:
    """The same pattern, more severe: same id and place, new text, the raising events added."""
    standing.severity = finding.severity
    standing.at = now
    standing.mark = mark
    tell_more(standing, finding.events)
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
            "events": [event.wire() for event in standing.events],
        },
        detected_at=standing.detected_at,
    )
    return Change(kind=kind, pattern=pattern, at=now)


def merged(told: tuple[Event, ...], new: tuple[Event, ...]) -> tuple[Event, ...]:
    """Both, trimmed, without repeating what was told, by time: the newest that evidence has room
    for. Two events that are equal once trimmed are the same.
    """
    cut = tuple(map(trimmed, new[-EVIDENCE_EVENTS:]))
    if told:
        times = set(map(_timestamp, told))
        cut = tuple(event for event in cut if event.timestamp not in times or event not in told)
    return tuple(sorted(told + cut, key=_timestamp)[-EVIDENCE_EVENTS:])


def tell_more(standing: Standing, events: tuple[Event, ...]) -> None:
    """Add to a standing's evidence."""
    standing.events = merged(standing.events, events)
    weigh(standing)


def weigh(standing: Standing) -> None:
    """See what it holds."""
    kept = sum(map(event_bytes, standing.events))
    standing.bytes = STANDING + text_bytes(standing.place) + kept


def trimmed(event: Event) -> Event:
    """The event as evidence shows it: the values of its metadata cut short."""
    metadata = event.metadata
    if not metadata or all(len(value) <= EVIDENCE_TEXT for value in metadata.values()):
        return event
    cut = {key: value[:EVIDENCE_TEXT] for key, value in metadata.items()}
    return msgspec.structs.replace(event, metadata=cut)


def pattern_id(subject: Subject, type_: str, place: str, detected_at: int) -> str:
    """The id of a pattern: 22 characters out of `A-Z a-z 0-9 - _`."""
    parts: Iterable[object] = (subject.site, subject.user_id, type_, place, detected_at)
    text = "".join(f"{len(str(part))}:{part}" for part in parts)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
