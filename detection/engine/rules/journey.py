"""One visitor's way through one funnel: the open attempt, and what is remembered of earlier ones.

It lives apart from the visitor's window and outlives it, with whether the visitor is hidden and
who they are (a visitor who is new again takes their known id from it). A journey is alive while an
attempt is open or something is remembered (until `keep_until`); one that is not is as good as none,
and only waits for its last wake-up to be dropped.
"""

from typing import Final

import msgspec

from ..events import Event
from ..standing import Finding, Standing
from ..visitor import Visitor
from .funnel import Funnel

REMEMBERED: Final = 16  # losses kept a journey; older ones can no longer be recovered


class Loss(msgspec.Struct, frozen=True, gc=False):
    """An abandonment that may yet be recovered.

    at: when it was detected, ms. standing: the pattern that tells of it; None if none does.
    finding: what was found.
    """

    at: int
    standing: Standing | None
    finding: Finding


class Journey:
    """See the module.

    steps: the open attempt: the first event at each step reached, by the step's index; empty
        while no attempt is open. furthest: the highest of them.
    heard: arrival of the last heard event, ms.
    hidden: whether the visitor's tab is hidden; hidden_by: the event that said so, if heard.
    left: the `leave` that waits to count; leave_due: when it does.
    settled: the page on which the visitor completed or abandoned, until they navigate.
    losses: the abandonments that may yet be recovered. standings: the last pattern of each place.
    wakes: the stack of its wake-ups (see `deadlines`).
    """

    __slots__ = (
        "furthest",
        "heard",
        "hidden",
        "hidden_by",
        "identified",
        "keep_until",
        "leave_due",
        "left",
        "losses",
        "settled",
        "site",
        "standings",
        "steps",
        "user_id",
        "wakes",
    )

    def __init__(self, visitor: Visitor) -> None:
        self.site = visitor.site
        self.user_id = visitor.user_id
        self.wakes: list[int] = []
        self.heard = 0
        self.begin_anew(visitor)

    def begin_anew(self, visitor: Visitor) -> None:
        """Nothing is remembered; who they are and whether hidden comes from the visitor."""
        self.identified = visitor.identified
        self.hidden = visitor.hidden
        self.hidden_by: Event | None = None
        self.keep_until = 0
        self.settled = ""
        self.losses: tuple[Loss, ...] = ()
        self.standings: dict[str, Standing] = {}
        self.close()

    def close(self) -> None:
        """No attempt is open any more."""
        self.steps: dict[int, Event] = {}
        self.furthest = 0
        self.left: Event | None = None
        self.leave_due = 0

    def alive(self, now: int) -> bool:
        return bool(self.steps) or now < self.keep_until

    @property
    def entered(self) -> bool:
        """Whether the open attempt has gone beyond the first step."""
        return self.furthest > 0

    def hear(self, event: Event, now: int, funnel: Funnel) -> None:
        """Any heard event: not silent; and not gone, unless it says so."""
        self.heard = now
        action = event.action
        if action == "leave":
            if self.left is None:
                self.left = event
                self.leave_due = now + funnel.leave_grace_ms
            return
        if action == "tab_hidden":
            if not self.hidden:
                self.hidden_by = event
            self.hidden = True
            return
        self.left = None
        if action in {"navigate", "tab_visible"}:
            self.hidden = False
            self.hidden_by = None
            if action == "navigate":
                self.settled = ""

    def due(self, funnel: Funnel) -> int:
        """When something happens to it if nothing more is heard, ms."""
        if not self.steps:
            return self.keep_until
        due = self.heard + funnel.attempt_timeout_ms
        if self.entered:
            if self.left is not None:
                due = min(due, self.leave_due)
            if self.hidden:
                due = min(due, self.heard + funnel.hidden_silence_ms)
        return due

    def remember(self, loss: Loss, until: int) -> None:
        """Keep a loss for as long as it can be recovered or stands in its cooldown."""
        self.losses = (*self.losses, loss)[-REMEMBERED:]
        self.keep_until = max(self.keep_until, until)
