"""One visitor's way through one funnel: the open attempt, and what is remembered of earlier ones.

It lives apart from the visitor's window and outlives it, with whether the visitor is hidden and
who they are (a visitor who is new again takes their known id from it). A journey is alive while an
attempt is open or something is remembered (until `keep_until`); one that is not is as good as none,
and only waits for its last wake-up to be dropped.
"""

from typing import Final

import msgspec

from ..events import Event
from ..sizes import JOURNEY, LOSS, LOSS_STEP, WAKE, event_bytes, text_bytes
from ..standing import Finding, Standing, trimmed
from .funnel import Funnel

REMEMBERED: Final = 16  # losses kept a journey; older ones can no longer be recovered


class Loss(msgspec.Struct, frozen=True, gc=False):
    """An abandonment that may yet be recovered.

    at: when it was detected, ms. standing: the pattern that tells of it; None if none does.
    finding: what was found, as far as a recovery tells of it. bytes: what that holds.
    """

    at: int
    standing: Standing | None
    finding: Finding
    bytes: int


def lost(at: int, standing: Standing | None, finding: Finding) -> Loss:
    """An abandonment to be remembered, without the events: the pattern has them."""
    kept = msgspec.structs.replace(finding, events=(), explanation="")
    texts = sum(map(text_bytes, (finding.place, finding.page, finding.facts["went_to"])))
    steps = sum(LOSS_STEP + text_bytes(step["page"]) for step in finding.facts["steps"])
    return Loss(at, standing, kept, LOSS + texts + steps)


class Journey:
    """See the module.

    owner: the number of the funnel.
    steps: the open attempt: the first event at each step reached, by the step's index; empty
        while no attempt is open. furthest: the highest of them.
    heard: arrival of the last heard event, ms.
    hidden: whether the visitor's tab is hidden; hidden_by: the event that said so, if heard.
    left: the `leave` that waits to count; leave_due: when it does.
    settled: the page on which the visitor completed or abandoned, until they navigate.
    losses: the abandonments that may yet be recovered. standings: the last pattern of each place.
    wakes: the stack of its wake-ups (see `deadlines`).
    counted: the bytes that are counted for it.

    Events are kept trimmed.
    """

    __slots__ = (
        "_kept",
        "_opened",
        "counted",
        "furthest",
        "heard",
        "hidden",
        "hidden_by",
        "identified",
        "keep_until",
        "leave_due",
        "left",
        "losses",
        "owner",
        "settled",
        "site",
        "standings",
        "steps",
        "user_id",
        "wakes",
    )

    def __init__(self, site: int, user_id: str, owner: int) -> None:
        self.site = site
        self.user_id = user_id
        self.owner = owner
        self.wakes: list[int] = []
        self.heard = 0
        self.counted = 0
        self.begin_anew("", hidden=False)

    def begin_anew(self, identified: str, hidden: bool) -> None:
        """Nothing is remembered; who they are and whether they are hidden is given."""
        self.identified = identified
        self.hidden = hidden
        self.hidden_by: Event | None = None
        self.keep_until = 0
        self.settled = ""
        self.losses: tuple[Loss, ...] = ()
        self.standings: dict[str, Standing] = {}
        self._kept = 0
        self.close()

    def close(self) -> None:
        """No attempt is open any more."""
        self.steps: dict[int, Event] = {}
        self._opened = 0
        self.furthest = 0
        self.left: Event | None = None
        self.leave_due = 0

    def reach(self, index: int, event: Event) -> None:
        """An event at a step; the first at each is kept."""
        if index not in self.steps:
            kept = self.steps[index] = trimmed(event)
            self._opened += event_bytes(kept)

    def alive(self, now: int) -> bool:
        return bool(self.steps) or now < self.keep_until

    @property
    def entered(self) -> bool:
        """Whether the open attempt has gone beyond the first step."""
        return self.furthest > 0

    def hear(self, event: Event, now: int, funnel: Funnel) -> bool:
        """Any heard event: not silent; and not gone, unless it says so. True if other events are
        kept now than before.
        """
        self.heard = now
        action = event.action
        if action == "leave":
            return self._leave(event, now, funnel)
        if action == "tab_hidden":
            return self._hide(event)
        changed = self.left is not None
        self.left = None
        if action in {"navigate", "tab_visible"}:
            changed = changed or self.hidden_by is not None
            self.hidden = False
            self.hidden_by = None
            if action == "navigate":
                self.settled = ""
        return changed

    def _leave(self, event: Event, now: int, funnel: Funnel) -> bool:
        if self.left is not None:
            return False
        self.left = trimmed(event)
        self.leave_due = now + funnel.leave_grace_ms
        return True

    def _hide(self, event: Event) -> bool:
        if self.hidden:
            return False
        self.hidden = True
        self.hidden_by = trimmed(event)
        return True

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
        self.weigh()

    def weigh(self) -> None:
        """See what the patterns and losses hold, when one of them has come, gone or grown."""
        told = {standing.pattern_id: standing for standing in self.standings.values()}
        told |= {loss.standing.pattern_id: loss.standing for loss in self.losses if loss.standing}
        self._kept = sum(loss.bytes for loss in self.losses)
        self._kept += sum(standing.bytes for standing in told.values())

    def bytes(self) -> int:
        """What it holds, as `sizes` estimates it."""
        held = JOURNEY + self._opened + self._kept + WAKE * len(self.wakes)
        held += text_bytes(self.user_id) + text_bytes(self.identified)
        if self.settled:
            held += text_bytes(self.settled)
        if self.left is not None:
            held += event_bytes(self.left)
        return held if self.hidden_by is None else held + event_bytes(self.hidden_by)

    def change_terms(self, before: Funnel, after: Funnel, cooldowns: tuple[int, int]) -> None:
        """Go on in a funnel with other numbers; with other steps, the open attempt is over.
        cooldowns: before and after, ms.
        """
        if before.steps != after.steps:
            self.close()
        if self.left is not None:
            self.leave_due += after.leave_grace_ms - before.leave_grace_ms
        if self.keep_until:
            self.keep_until += after.keep_ms(cooldowns[1]) - before.keep_ms(cooldowns[0])
