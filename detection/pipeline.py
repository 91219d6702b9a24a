"""The pipeline: one thread, sole owner of the engine.

Requests wait in a bounded queue; the thread drains a chunk, shows every event to the engine,
hands the changes on, and only then answers those who wait. Other threads that want to know
something of the engine ask, and get a copy that this thread makes.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TypeVar

from detection.clock import now_ms
from detection.engine.engine import Engine
from detection.engine.events import Event
from detection.engine.patterns import Change, Identified

logger = logging.getLogger(__name__)
T = TypeVar("T")
News = Change | Identified

# Events taken in one go: enough to share the cost of a turn, few enough to answer soon.
CHUNK_EVENTS = 5_000
# How long the thread sleeps at most, so that deadlines fire within this time, seconds.
TURN_S = 0.25
ASK_TIMEOUT_S = 5.0


class EngineUnavailable(Exception):
    """The engine does not run in this process, or did not answer in time."""


class Batch:
    """The events of one accepted request, and the request that waits for the answer.

    arrival: when they reached the server, epoch ms; the `now` of each of them.
    """

    __slots__ = ("_future", "_loop", "arrival", "events", "key")

    def __init__(self, site: int, arrival: int, events: list[Event], batch_id: str = "") -> None:
        """batch_id: the sender's name for it, the same when it is sent again; "" for none."""
        self.key = (site, batch_id) if batch_id else None
        self.arrival = arrival
        self.events = events
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] = self._loop.create_future()

    async def done(self) -> None:
        """Wait until the engine has seen the events."""
        await self._future

    def answer(self) -> None:
        """Called by the pipeline, from its own thread."""
        try:
            self._loop.call_soon_threadsafe(self._settle)
        except RuntimeError:
            logger.debug("The server's loop is closed; nobody waits for this answer.")

    def _settle(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


class Seen:
    """The batches seen lately, so that one sent again is not counted again.

    Bounded: the oldest of more than `most` are forgotten.
    """

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._keys: dict[tuple[int, str], None] = {}

    def before(self, key: tuple[int, str] | None) -> bool:
        """Whether this one has been seen; from now on it has."""
        if key is None:
            return False
        if key in self._keys:
            return True
        self._keys[key] = None
        if len(self._keys) > self._most:
            del self._keys[next(iter(self._keys))]
        return False


class Outbox:
    """Changes on their way from the pipeline to the publisher, bounded by `capacity`."""

    def __init__(self, capacity: int = 10_000) -> None:
        self.capacity = capacity
        self._changes: deque[News] = deque()
        self._ready = threading.Condition()
        self._nudged = False

    def __len__(self) -> int:
        return len(self._changes)

    @property
    def full(self) -> bool:
        return len(self._changes) >= self.capacity

    def put(self, changes: list[News]) -> None:
        """Never blocks: the pipeline takes no further events while the box is full."""
        if changes:
            with self._ready:
                self._changes.extend(changes)
                self._ready.notify()

    def nudge(self) -> None:
        """Wake the publisher: something it should look at has been written."""
        with self._ready:
            self._nudged = True
            self._ready.notify()

    def wait(self, timeout: float) -> list[News]:
        """All that waits, after at most `timeout` seconds; it stays until `forget`."""
        with self._ready:
            if not self._changes and not self._nudged:
                self._ready.wait(timeout)
            self._nudged = False
            return list(self._changes)

    def forget(self, count: int) -> None:
        """Drop the first `count` changes, which are stored now."""
        with self._ready:
            for _ in range(count):
                self._changes.popleft()


class Pipeline:
    """Feeds the engine. `capacity`: events that may wait; more are refused."""

    def __init__(self, engine: Engine, outbox: Outbox, capacity: int) -> None:
        self._engine = engine
        self._outbox = outbox
        self.capacity = capacity
        self._batches: deque[Batch] = deque()
        self._asks: deque[Callable[[], None]] = deque()
        self._waiting = 0
        self._seen = Seen()
        self._clock = 0  # the latest time promised to the engine, epoch ms
        self._wake = threading.Condition()
        self._stopping = False
        self._ended = False  # the last questions have been taken
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self, timeout: float = 30.0) -> None:
        """Refuse new events, finish what was accepted, end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def offer(self, batch: Batch) -> bool:
        """Queue a batch; False where there is no room, or no more is taken. Never blocks.

        One that is larger than the whole queue is taken while nothing else waits; otherwise
        its client would be told to come again for ever.
        Its arrival is raised to the engine's time where that is ahead of it, so that what the
        engine is told never depends on when this thread looked at the clock.
        """
        with self._wake:
            room = self.capacity - self._waiting
            if self._stopping or (self._waiting and len(batch.events) > room):
                return False
            self._clock = batch.arrival = max(self._clock, batch.arrival)
            self._batches.append(batch)
            self._waiting += len(batch.events)
            self._wake.notify()
            return True

    def ask(self, question: Callable[[Engine], T], timeout: float = ASK_TIMEOUT_S) -> T:
        """What `question` returns when the pipeline puts it to the engine.

        It must return a copy. Raises EngineUnavailable.
        """
        answer: Future[T] = Future()

        def put() -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(question(self._engine))
                except Exception as error:  # noqa: BLE001  (the asker gets it)
                    answer.set_exception(error)

        with self._wake:
            if self._ended or not self._thread.is_alive():
                raise EngineUnavailable("the engine does not run in this process")
            self._asks.append(put)
            self._wake.notify()
        try:
            return answer.result(timeout)
        except FutureTimeout:
            answer.cancel()
            raise EngineUnavailable(f"the engine did not answer within {timeout:g} s") from None

    def _run(self) -> None:
        while True:
            chunk, asks, now, last = self._take()
            changes = self._advance(now) if now else []
            for batch in chunk:
                changes += self._observe(batch)
            # The journal's place: what is answered below will be written here, in one commit.
            self._outbox.put(changes)
            for batch in chunk:
                batch.answer()
            for put in asks:
                put()
            if last:
                return

    def _take(self) -> tuple[list[Batch], list[Callable[[], None]], int, bool]:
        """Wait for work: batches, questions, the time to advance to (0: none), the last turn?"""
        with self._wake:
            if not self._asks and not self._stopping and (self._outbox.full or not self._batches):
                self._wake.wait(TURN_S)
            chunk: list[Batch] = []
            events = 0
            # While the publisher is behind, events wait here, and then outside.
            while (
                self._batches
                and events < CHUNK_EVENTS
                and (self._stopping or not self._outbox.full)
            ):
                batch = self._batches.popleft()
                events += len(batch.events)
                chunk.append(batch)
            self._waiting -= events
            asks = list(self._asks)
            self._asks.clear()
            now = 0
            if not chunk and not self._batches:
                now = self._clock = max(self._clock, now_ms())
            self._ended = self._stopping and not self._batches
            return chunk, asks, now, self._ended

    def _advance(self, now: int) -> list[News]:
        try:
            return list(self._engine.advance(now))
        except Exception:
            logger.exception("A deadline could not be handled; the engine goes on.")
            return []

    def _observe(self, batch: Batch) -> list[News]:
        changes: list[News] = []
        if self._seen.before(batch.key):
            return changes
        observe = self._engine.observe
        for event in batch.events:
            try:
                if event.action == "identify":
                    changes += self._identify(event, batch.arrival)
                else:
                    changes += observe(event, batch.arrival)
            except Exception:
                logger.exception("An event could not be handled; the engine goes on.")
        return changes

    def _identify(self, event: Event, arrival: int) -> list[News]:
        """News of who the visitor is, if that is news."""
        known = self._engine.identified(event.site, event.user_id)
        changes: list[News] = list(self._engine.observe(event, arrival))
        told = self._engine.identified(event.site, event.user_id)
        if told and told != known:
            changes.append(Identified(event.site, event.user_id, told, arrival))
        return changes
