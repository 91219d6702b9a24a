"""What waits for the pipeline's thread: batches, bounded by events and by bytes, and questions."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from detection.batches import Batch
from detection.engine.engine import Engine

T = TypeVar("T")
Question = Callable[[Engine | None], None]

# Bytes of bodies that may wait, whatever the number of events in them.
MOST_BYTES = 64_000_000


class EngineUnavailable(Exception):
    """The engine does not run in this process, or did not answer in time."""


class Queue:
    """capacity: events that may wait. Whoever calls a method holds `wake`."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.wake = threading.Condition()
        self.events = 0
        self.bytes = 0
        self._batches: deque[Batch] = deque()
        self._questions: deque[Question] = deque()

    @property
    def empty(self) -> bool:
        """Whether no batch waits."""
        return not self._batches

    @property
    def asked(self) -> bool:
        return bool(self._questions)

    @property
    def oldest(self) -> int | None:
        """Arrival of the batch that has waited longest, epoch ms. Needs no lock."""
        try:
            return self._batches[0].arrival
        except IndexError:
            return None

    def put(self, batch: Batch) -> bool:
        """Whether there was room for it.

        One that is larger than the whole queue is taken while nothing else waits; otherwise its
        client would be told to come again for ever.
        """
        events = self.events + len(batch.events)
        if self._batches and (events > self.capacity or self.bytes + batch.size > MOST_BYTES):
            return False
        self._batches.append(batch)
        self.events = events
        self.bytes += batch.size
        self.wake.notify()
        return True

    def take(self, most: int) -> list[Batch]:
        """Batches from the front, until they hold at least so many events."""
        taken: list[Batch] = []
        events = 0
        while self._batches and events < most:
            batch = self._batches.popleft()
            events += len(batch.events)
            self.bytes -= batch.size
            taken.append(batch)
        self.events -= events
        return taken

    def clear(self) -> list[Batch]:
        """All that wait; the queue is empty."""
        return self.take(self.events + 1)

    def ask(self, question: Callable[[Engine], T]) -> "Future[T]":
        """Let the engine be asked; the answer comes in the future."""
        answer: Future[T] = Future()

        def put(engine: Engine | None) -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                if engine is None:
                    raise EngineUnavailable("the engine does not run in this process any more")
                answer.set_result(question(engine))
            except Exception as error:  # noqa: BLE001  (the asker gets it)
                answer.set_exception(error)

        self._questions.append(put)
        self.wake.notify()
        return answer

    def take_questions(self) -> list[Question]:
        questions = list(self._questions)
        self._questions.clear()
        return questions
