"""The pipeline: one thread, sole owner of the engine.

Requests wait in a bounded queue; the thread drains a chunk, has it kept, shows every event to the
engine, hands the changes on, and only then answers those who wait. What cannot be kept is refused,
and the engine never saw it. Other threads that want to know something of the engine ask, and get a
copy that this thread makes.

Here is whose engine it is: the thread waits until this process owns it, brings it back to where it
was, and then takes its turns (`turns`) until the process ends or the engine becomes another's.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from enum import StrEnum
from typing import TypeVar

from django.conf import settings
from django.db import connection, reset_queries

from detection import clock, replay
from detection.batches import Batch, Refusal
from detection.engine.engine import Engine
from detection.journal import Displaced
from detection.keeping import Keeping
from detection.outbox import News, Outbox
from detection.queueing import EngineUnavailable, Queue
from detection.trouble import TROUBLE, DatabaseTrouble
from detection.turns import PROBE_S, TURN_S, Counts, Turns

logger = logging.getLogger(__name__)
T = TypeVar("T")

ASK_TIMEOUT_S = 5.0
# How long after an error of our own until the thread begins again.
AGAIN_S = 2.0
# How long the thread waits at the end for the publisher to have stored everything.
LEAVE_S = 60.0


class State(StrEnum):
    """What the pipeline is about."""

    IDLE = "idle"  # not started, or without a database
    WAITING = "waiting"  # another process owns the engine
    RECOVERING = "recovering"
    RUNNING = "running"
    ENDED = "ended"


_REFUSALS = {
    State.IDLE: Refusal.STARTING,
    State.WAITING: Refusal.STANDBY,
    State.RECOVERING: Refusal.STARTING,
    State.ENDED: Refusal.STOPPING,
}


class Pipeline:
    """Feeds the engine. `capacity`: events that may wait; more are refused.

    settled: set once it is known whether this process runs the engine. holder: who runs it while
    this process waits, as far as it is known.
    """

    def __init__(
        self, keeping: Keeping, outbox: Outbox, capacity: int, trouble: DatabaseTrouble
    ) -> None:
        self._keeping = keeping
        self._outbox = outbox
        self._trouble = trouble
        self._queue = Queue(capacity)
        self.counts = Counts()
        self.state = State.IDLE
        self.holder = ""
        self.settled = threading.Event()
        self._turns: Turns | None = None
        self._stopping = threading.Event()
        self._drained = threading.Event()
        self._all_stored: bool | None = None
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def position(self) -> int:
        """Of the journal: its newest entry."""
        return self._keeping.position

    @property
    def capacity(self) -> int:
        """Events that may wait."""
        return self._queue.capacity

    @property
    def queued_events(self) -> int:
        return self._queue.events

    @property
    def queued_bytes(self) -> int:
        return self._queue.bytes

    @property
    def lag_ms(self) -> int:
        """How long the oldest batch that waits has waited."""
        oldest = self._queue.oldest
        return 0 if oldest is None else max(0, clock.arrival_ms() - oldest)

    def drain(self, timeout: float = 30.0) -> None:
        """Refuse new events and finish what was accepted. The thread then waits for `end`."""
        with self._queue.wake:
            self._stopping.set()
            self._queue.wake.notify()
        if self._thread.is_alive():
            self._drained.wait(timeout)

    def end(self, all_stored: bool, timeout: float = LEAVE_S) -> None:
        """After `drain`: take leave of the database, and end the thread.

        all_stored: whether every change has been stored; only then is a snapshot true.
        """
        with self._queue.wake:
            self._all_stored = all_stored
            self._queue.wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def offer(self, batch: Batch) -> Refusal | None:
        """Queue a batch; or the reason why it is not taken. Never blocks.

        Its arrival is raised to the engine's time where that is ahead of it.
        """
        with self._queue.wake:
            if self._stopping.is_set():
                return Refusal.STOPPING
            turns = self._turns
            if turns is None:
                absent = self.state in {State.IDLE, State.WAITING} and self._trouble.reason
                return Refusal.DATABASE if absent else _REFUSALS[self.state]
            if turns.down:
                return Refusal.DATABASE
            batch.arrival = turns.promise(batch.arrival)
            return None if self._queue.put(batch) else Refusal.BUSY

    def ask(self, question: Callable[[Engine], T], timeout: float = ASK_TIMEOUT_S) -> T:
        """What `question` returns when the pipeline puts it to the engine.

        It must return a copy. Raises EngineUnavailable.
        """
        with self._queue.wake:
            # What is asked during the last turn would wait in vain.
            if self._turns is None or self._stopping.is_set() or not self.alive:
                raise EngineUnavailable("the engine does not run in this process")
            answer = self._queue.ask(question)
        try:
            return answer.result(timeout)
        except FutureTimeout:
            answer.cancel()
            raise EngineUnavailable(f"the engine did not answer within {timeout:g} s") from None

    # --- the thread ---------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._own() and self._recover():
                    self._serve()
            except (*TROUBLE, OSError) as error:  # OSError: the lease's file
                self._trouble.met("pipeline", error)
                connection.close()
                self.settled.set()
                self._rest(PROBE_S)
            except Exception:
                logger.exception("The pipeline met an error; it begins again.")
                self._give_up(Refusal.STARTING, State.IDLE)
                self._rest(AGAIN_S)
        turns = self._turns
        self._give_up(Refusal.STOPPING, State.ENDED)
        self.settled.set()
        self._drained.set()
        self._leave(turns)

    def _own(self) -> bool:
        """Whether this process owns the engine; said once where it does not."""
        if self._keeping.own():
            return True
        if self.state is not State.WAITING:
            self.holder = self._keeping.holder()
            logger.warning(
                "The engine of this database is run by %s. This process answers everything but "
                "events and live state, and takes over when that one has ended.",
                self.holder or "another process",
            )
        self._give_up(Refusal.STANDBY, State.WAITING)
        self._trouble.over("pipeline")
        self.settled.set()
        self._rest(PROBE_S)
        return False

    def _recover(self) -> bool:
        """Bring the engine back to where it was; False where the process is to end before that."""
        self._give_up(Refusal.STARTING, State.RECOVERING)
        recovered = self._keeping.recover(self._tell)
        if self._stopping.is_set():
            return False
        clock.not_before(recovered.clock)
        now = max(recovered.clock, clock.arrival_ms())
        self._tell(replay.advance(recovered.engine, now))
        self._keeping.configure(recovered.engine, now)
        self._trouble.over("pipeline")
        turns = Turns(
            recovered.engine,
            recovered.seen,
            now,
            keeping=self._keeping,
            queue=self._queue,
            outbox=self._outbox,
            trouble=self._trouble,
            counts=self.counts,
        )
        with self._queue.wake:
            self._turns = turns
            self.state = State.RUNNING
        self.holder = ""
        self.settled.set()
        return True

    def _tell(self, changes: list[News]) -> None:
        """Hand changes on, and wait while the publisher is behind."""
        while changes and self._outbox.full and not self._stopping.is_set():
            self._rest(TURN_S)
        self._outbox.put(changes)

    def _serve(self) -> None:
        """Turn after turn, until the process ends or the engine is another's."""
        turns = self._turns
        try:
            while turns is not None and not turns.turn(self._stopping):
                if settings.DEBUG:
                    reset_queries()  # nobody ends a request here, so nobody else would
        except Displaced as reason:
            logger.warning("The engine is given up, and read again by its next owner: %s.", reason)
            self._give_up(Refusal.STANDBY, State.IDLE)
            self._keeping.drop(None)
            connection.close()

    def _give_up(self, refusal: Refusal, state: State) -> None:
        """From now on there is no engine here; nobody who waits for it waits in vain."""
        with self._queue.wake:
            self.state = state
            self._turns = None
            batches = self._queue.clear()
            questions = self._queue.take_questions()
        for batch in batches:
            batch.refuse(refusal)
        for put in questions:
            put(None)

    def _leave(self, turns: Turns | None) -> None:
        """The last of the thread: a snapshot, once all is stored; then another may own it."""
        with self._queue.wake:
            self._queue.wake.wait_for(lambda: self._all_stored is not None, LEAVE_S)
        try:
            if turns is not None and not turns.down and self._all_stored:
                self._keeping.close(turns.engine, turns.seen)
        except TROUBLE as error:
            logger.warning("No snapshot was taken; the journal is read instead: %s", error)
        except Exception:
            logger.exception("No snapshot was taken; the journal is read instead.")
        finally:
            self._keeping.release()
            connection.close()

    def _rest(self, seconds: float) -> None:
        self._stopping.wait(seconds)
