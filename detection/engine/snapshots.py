"""What the engine answers when asked how things stand: copies, safe to hand to another thread."""

import msgspec

from .events import Event


class SiteStats(msgspec.Struct, frozen=True):
    """Counts of one site since the engine began; an engine that was saved and restored goes on.

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


class Gauges(msgspec.Struct, frozen=True):
    """What the engine holds now, of all sites.

    visitors: visitors with a window. bytes: what they hold, as `sizes` estimates it.
    attempts: attempts that are open, or of which something is remembered. attempt_bytes: theirs.
    deadlines: wake-ups that wait.
    evicted_visitors, evicted_attempts: how many had to go since the engine began because there
        were too many or they held too much. A visitor silent for a whole window is none of them.
    """

    visitors: int = 0
    bytes: int = 0
    attempts: int = 0
    attempt_bytes: int = 0
    deadlines: int = 0
    evicted_visitors: int = 0
    evicted_attempts: int = 0


class Tally:
    """The running counts of one site."""

    __slots__ = ("abandoned", "entered", "late", "total_events")

    def __init__(self) -> None:
        self.total_events = 0
        self.late = 0
        self.entered = 0
        self.abandoned = 0
