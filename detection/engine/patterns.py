"""What the engine says: patterns, and the changes they go through."""

import enum
from typing import Any

import msgspec


class Severity(enum.IntEnum):
    """How much a pattern hurts; ordered, so that escalation is a comparison."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3

    @property
    def label(self) -> str:
        return self.name.lower()


class ChangeKind(enum.StrEnum):
    """A step of a pattern. The engine makes the first three, people the last two.

    Between them: the site told who the visitor is, after the pattern was detected.
    """

    OPENED = "opened"
    ESCALATED = "escalated"
    RECOVERED = "recovered"
    IDENTIFIED = "identified"
    RESOLVED = "resolved"
    REOPENED = "reopened"


class Pattern(msgspec.Struct, frozen=True):
    """A piece of friction at one visitor, as it stands after a change.

    pattern_id: URL-safe hash of site, visitor, type, place and detected_at; never changes.
    type: the rule's name (`hesitation`, `navigation-loop`, `abandonment`).
    place: what the pattern is about (a page, a set of pages joined by a space, a funnel step).
    page: the one page to show for it.
    identified: the id that `lens.identify` gave for this visitor, or "".
    explanation: one or two sentences with numbers from the evidence.
    evidence: JSON-able; `{"facts": {...}, "events": [events in the wire's shape, oldest first]}`.
    detected_at: epoch ms at which it was first detected.
    """

    pattern_id: str
    site: int
    user_id: str
    identified: str
    type: str
    place: str
    page: str
    severity: Severity
    explanation: str
    evidence: dict[str, Any]
    detected_at: int


class Change(msgspec.Struct, frozen=True):
    """One step of one pattern. at: epoch ms of the step (the pattern's detected_at if opened)."""

    kind: ChangeKind
    pattern: Pattern
    at: int


class Identified(msgspec.Struct, frozen=True):
    """The site told who a visitor is. at: epoch ms."""

    site: int
    user_id: str
    identified: str
    at: int
