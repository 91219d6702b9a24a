"""The pipeline's turns, for as long as this process owns the engine.

A turn takes a chunk of what waits, has it kept, shows it to the engine, and answers. While the
database refuses, what waits is refused as well, and the engine's time stands still.
"""

import logging
import threading
import time
from typing import Final

from detection import clock, replay
from detection.batches import Batch, Key, Refusal, Seen
from detection.engine.engine import Engine
from detection.journal import Displaced, by_visitor
from detection.keeping import CHECK_S, Groups, Keeping
from detection.outbox import News, Outbox
from detection.queueing import Question, Queue
from detection.trouble import TROUBLE, DatabaseTrouble

logger = logging.getLogger(__name__)

# Events taken in one go: enough to share the cost of a commit, few enough to answer soon.
CHUNK_EVENTS: Final = 1_000
# How long the thread sleeps at most, so that deadlines fire within this time, seconds.
TURN_S: Final = 0.25
# How long between two looks at a database that refuses, seconds.
PROBE_S: Final = 0.5


class Counts:
    """What has been done since the start, in events; `failures` in batches."""

    def __init__(self) -> None:
        self.journalled_events = 0
        self.journalled_batches = 0
        self.duplicates = 0
        self.failures = 0


class Turns:
    """One engine and what feeds it. Everything but `promise` is the pipeline's thread's own.

    down: the database refuses; nothing is taken.
    """

    def __init__(
        self,
        engine: Engine,
        seen: Seen,
        now: int,
        *,
        keeping: Keeping,
        queue: Queue,
        outbox: Outbox,
        trouble: DatabaseTrouble,
        counts: Counts,
    ) -> None:
        """now: the engine's time, epoch ms."""
        self.engine = engine
        self.seen = seen
        self.down = False
        self._promised = now
        self._keeping = keeping
        self._queue = queue
        self._outbox = outbox
        self._trouble = trouble
        self._counts = counts
        self._unsure: tuple[list[Batch], Groups] = ([], [])
        self._next_check = 0.0

    def promise(self, arrival: int) -> int:
        """The time at which the engine will see what arrives at `arrival`; epoch ms.

        Never before a time that it has been told, so that what it is told never depends on when
        the thread looked at the clock. The queue's lock is held.
        """
        self._promised = max(self._promised, arrival)
        return self._promised

    def turn(self, stopping: threading.Event) -> bool:
        """One turn; True if it was the last. Raises Displaced where the engine is another's."""
        more = not self.down and self._upkeep()
        chunk, questions, now, last = self._take(stopping, wait=not more)
        if self.down:
            self._mend()
        elif chunk:
            self._keep(chunk)
        elif now:
            self._pass_time(now)
        for put in questions:
            put(self.engine)
        return last

    def _upkeep(self) -> bool:
        try:
            return self._keeping.turn(self.engine, self.seen)
        except Exception:
            logger.exception("A snapshot could not be taken; the journal holds everything.")
            self._keeping.drop(self.engine)
            return False

    def _take(
        self, stopping: threading.Event, wait: bool
    ) -> tuple[list[Batch], list[Question], int, bool]:
        """Wait for work: batches, questions, the time to advance to (0: none), the last turn?"""
        queue = self._queue
        with queue.wake:
            idle = queue.empty or self._outbox.full or self.down
            if wait and idle and not queue.asked and not stopping.is_set():
                queue.wake.wait(TURN_S)
            # While the publisher is behind, events wait here, and then outside.
            held = self._outbox.full and not stopping.is_set()
            chunk = [] if held else queue.take(CHUNK_EVENTS)
            now = 0
            if not chunk and queue.empty:
                now = self.promise(clock.arrival_ms())
            return chunk, queue.take_questions(), now, stopping.is_set() and queue.empty

    def _pass_time(self, now: int) -> None:
        """Nothing waits: what is due falls due, once the ownership is made sure of."""
        nearest = self.engine.next_deadline()
        due = nearest is not None and nearest <= now
        if due or time.monotonic() >= self._next_check:
            self._next_check = time.monotonic() + CHECK_S
            try:
                self._keeping.check()
            except TROUBLE as error:
                self._fail(error, [])
                return
        self._outbox.put(replay.advance(self.engine, now))

    # --- keeping ------------------------------------------------------------------------

    def _keep(self, chunk: list[Batch]) -> None:
        """Keep a chunk, show it to the engine, answer: all of it or nothing."""
        fresh = self._sort_out(chunk)
        groups = [by_visitor(batch.events) for batch in fresh]
        try:
            if fresh:
                self._keeping.keep(fresh, groups)
        except TROUBLE as error:
            self._unsure = (fresh, groups)
            self._fail(error, chunk)
        except Displaced:
            for batch in chunk:
                batch.refuse(Refusal.STANDBY)
            raise
        except Exception as error:  # noqa: BLE001  (it is the data's own: found one by one)
            self._keep_apart(chunk, error)
        else:
            self._show(fresh, groups)
            for batch in chunk:
                batch.answer()

    def _keep_apart(self, chunk: list[Batch], error: Exception) -> None:
        """Something in the chunk can never be kept: find it, and let it harm no other."""
        if len(chunk) == 1:
            logger.error("A batch cannot be kept, and is refused.", exc_info=error)
            self._counts.failures += 1
            chunk[0].refuse(Refusal.DATABASE)
            return
        for batch in chunk:
            if self.down:
                batch.refuse(Refusal.DATABASE)
            else:
                self._keep([batch])

    def _sort_out(self, chunk: list[Batch]) -> list[Batch]:
        """The batches whose id has not been seen; the others are marked."""
        fresh: list[Batch] = []
        here: set[Key] = set()
        for batch in chunk:
            key = batch.key
            if key is not None:
                batch.duplicate = key in self.seen or key in here
                here.add(key)
            if batch.duplicate:
                self._counts.duplicates += len(batch.events)
            else:
                fresh.append(batch)
        return fresh

    def _show(self, batches: list[Batch], groups: Groups) -> None:
        """Let the engine see what has been kept."""
        changes: list[News] = []
        for batch, visitors in zip(batches, groups, strict=True):
            self.seen.add(batch.key)
            self._counts.journalled_batches += 1
            self._counts.journalled_events += len(batch.events)
            for events in visitors:
                changes += replay.observe(self.engine, events, batch.arrival)
        self._outbox.put(changes)

    # --- trouble ------------------------------------------------------------------------

    def _fail(self, error: Exception, chunk: list[Batch]) -> None:
        """Nothing can be kept: who waits is told so, and time stands still until it can."""
        self._trouble.met("pipeline", error)
        self._keeping.drop(self.engine)
        with self._queue.wake:
            self.down = True
            refused = chunk + self._queue.clear()
        for batch in refused:
            batch.refuse(Refusal.DATABASE)
        self._counts.failures += len(refused)
        self._next_check = time.monotonic() + PROBE_S

    def _mend(self) -> None:
        """Now and then look whether the database takes things again. Raises Displaced."""
        if time.monotonic() < self._next_check:
            return
        try:
            written = self._keeping.mend()
        except TROUBLE as error:
            self._trouble.met("pipeline", error)
            self._next_check = time.monotonic() + PROBE_S
            return
        if written:
            # The commit that failed had succeeded. Its sender was told otherwise, and will be
            # told that it is there when it comes again.
            self._show(*self._unsure)
        self._unsure = ([], [])
        self.down = False
        self._trouble.over("pipeline")
