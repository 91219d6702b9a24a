"""Who is let in while more is sent than can be taken.

To refuse costs time as well, and pages and people wait for the same event loop. So it is decided
at once, before a body is looked at, and by three things: whether the queue is full, how long the
oldest batch has waited in it, and how many requests are inside already. How many may be is found
by trial: while the loop is late with what was due, a quarter fewer each time; in time again, and
asked for more, one more each time. (Additive increase, multiplicative decrease: D. Chiu, R. Jain,
Computer Networks and ISDN Systems 17, 1989.)
"""

import asyncio
from typing import Final, Protocol

from detection.fairness import FewAtOnce, share

# How often the loop should beat, seconds.
BEAT_S: Final = 0.01
# By how much it may be late, seconds. What is refused waits for about that; a page for several.
LATE_S: Final = 0.04
# How long a batch may have waited for the pipeline, ms.
MOST_LAG_MS: Final = 2_000
# Requests that may always be inside; that may be at first; and at most.
FEWEST: Final = 16
FIRST: Final = 128
MOST: Final = 512
# The beat ends when nothing has been asked for so long, seconds.
QUIET_S: Final = 1.0


class Waiting(Protocol):
    """What there is to know of the pipeline."""

    @property
    def queued_events(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    @property
    def lag_ms(self) -> int: ...


class Admission:
    """Counts who is inside, and how many may be. Used by the event loop alone."""

    def __init__(self, pipeline: Waiting) -> None:
        self._pipeline = pipeline
        self.inside = 0
        self.limit = FIRST
        self._sent_away = False  # since the last beat, for want of room inside
        self.beating = False
        self._asked = 0.0
        self._turns: FewAtOnce | None = None

    def enter(self) -> bool:
        """Whether a request may come in; if so it has to `leave`. Called within the loop."""
        self._listen()
        if self.inside >= self.limit:
            self._sent_away = True
            return False
        pipeline = self._pipeline
        if pipeline.queued_events >= pipeline.capacity or pipeline.lag_ms > MOST_LAG_MS:
            return False
        self.inside += 1
        return True

    def leave(self) -> None:
        self.inside -= 1

    def beat(self, late: float) -> None:
        """The loop was so late with its beat, seconds: more or fewer may be inside."""
        if late > LATE_S:
            self.limit = max(FEWEST, self.limit * 3 // 4)
        elif self._sent_away:
            self.limit = min(MOST, self.limit + 1)
        self._sent_away = False

    def _listen(self) -> None:
        """See to it that the loop beats."""
        loop = asyncio.get_event_loop()
        self._asked = loop.time()
        if not self.beating:
            self.beating = True
            self._turns = share(loop)
            self._next_beat(loop)

    def _next_beat(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + BEAT_S
        loop.call_at(due, self._on_beat, loop, due)

    def _on_beat(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        now = loop.time()
        self.beat(max(now - due, self._turns.late if self._turns else 0.0))
        if now - self._asked > QUIET_S:
            self.beating = False
        else:
            self._next_beat(loop)
