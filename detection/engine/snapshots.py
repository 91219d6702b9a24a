"""What the engine answers when asked how things stand: copies, safe to hand to another thread."""

import msgspec

from .events import Event


class SiteStats(msgspec.Struct, frozen=True):
    """Counts of one site since the engine began.

    total_events: events observed.
    active_users: visitors heard from in the last 60 seconds.
    entered: funnel attempts that reached a second step.
    abandoned: of these, abandoned and not recovered.
    late: events older than their visitor's last, and clamped to it.
    """

    total_events: int = 0
    active_users: int = 0
    entered: int = 0
    abandoned: int = 0
    late: int = 0

    @property
    def abandonment_rate(self) -> float:
        """Abandoned (and not recovered) of the attempts entered, 0-1; 0 when there are none."""
        return self.abandoned / self.entered if self.entered else 0.0


class ActiveVisitor(msgspec.Struct, frozen=True):
    """A visitor heard from lately. last_seen: arrival of their last event, epoch ms."""

    user_id: str
    identified: str
    current_page: str
    last_seen: int


class VisitorWindow(msgspec.Struct, frozen=True):
    """A visitor and the events their window holds, oldest first."""

    user_id: str
    identified: str
    current_page: str
    last_seen: int
    hidden: bool
    events: list[Event]


class Tally:
    """The running counts of one site."""

    __slots__ = ("abandoned", "entered", "late", "total_events")

    def __init__(self) -> None:
        self.total_events = 0
        self.late = 0
        self.entered = 0
        self.abandoned = 0
