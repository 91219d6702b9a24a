"""Upkeep: one thread that writes snapshots, piece by piece, and prunes what is past its time.

It works beside the pipeline, which hands it pieces of the engine and never waits for it.
"""

import logging
import queue
import threading
from collections.abc import Callable

from django.conf import settings
from django.db import connection, reset_queries

from detection.clock import now_ms
from detection.outbox import Outbox
from detection.retention import Retention
from detection.snapshots import Beginning, Writing
from detection.trouble import TROUBLE, DatabaseTrouble

logger = logging.getLogger(__name__)

IDLE_S = 5.0
BETWEEN_STEPS_S = 0.05
STORED_WAIT_S = 0.1


class Upkeep:
    """Owns the thread. `owner` says whether this process runs the engine; others keep off."""

    def __init__(self, outbox: Outbox, trouble: DatabaseTrouble, owner: Callable[[], bool]) -> None:
        self._outbox = outbox
        self._trouble = trouble
        self._owner = owner
        self._work: queue.Queue[Beginning | bytes | None] = queue.Queue(maxsize=4)
        self._writing: Writing | None = None
        self._changes = 0
        self._broken = False
        self.retention = Retention()
        self.written = 0  # snapshots finished since the start
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    @property
    def journal_bytes(self) -> int | None:
        """What the journal takes up, bytes; None until it has been counted."""
        return self.retention.journal_bytes

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 30.0) -> None:
        """End the thread; a snapshot that is half written is dropped."""
        self._stopping.set()
        self.offer(b"")  # so that it does not sleep on
        if self._thread.is_alive():
            self._thread.join(timeout)

    # --- called by the pipeline ---------------------------------------------------------

    def offer(self, work: Beginning | bytes | None) -> bool:
        """Hand over the beginning of a snapshot, a piece, or None for its end.

        False where there is no room yet. Never blocks.
        """
        try:
            self._work.put_nowait(work)
        except queue.Full:
            return False
        return True

    # --- the thread ---------------------------------------------------------------------

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping.is_set():
            try:
                pause = self._turn(pause)
            except TROUBLE as error:
                self._trouble.met("upkeep", error)
                connection.close()
                pause = 1.0
            except Exception:
                logger.exception("The upkeep met an error; it goes on.")
                pause = IDLE_S
            else:
                self._trouble.over("upkeep")
            finally:
                if settings.DEBUG:
                    reset_queries()
        self._abandon()
        connection.close()

    def _turn(self, pause: float) -> float:
        """Write what has been handed over, or else prune a little; how long to pause then."""
        try:
            work = self._work.get(timeout=pause) if pause else self._work.get_nowait()
        except queue.Empty:
            if not self._owner():
                return IDLE_S
            return BETWEEN_STEPS_S if self.retention.step(now_ms()) else IDLE_S
        try:
            self._write(work)
        except Exception:
            self._abandon()
            self._broken = True
            raise
        return BETWEEN_STEPS_S

    def _write(self, work: Beginning | bytes | None) -> None:
        if isinstance(work, Beginning):
            self._abandon()  # the one before was not finished
            self._broken = False
            self._changes = work.changes
            self._writing = Writing(work)
            self.retention.writing = self._writing.pk
        elif self._broken or self._writing is None:
            return
        elif work is not None:
            self._writing.add(work)
        else:
            self._finish(self._writing)

    def _finish(self, writing: Writing) -> None:
        while not self._outbox.stored_up_to(self._changes):
            if self._stopping.wait(STORED_WAIT_S):
                return
        writing.finish()
        self._writing = None
        self.retention.writing = None
        self.written += 1

    def _abandon(self) -> None:
        writing, self._writing = self._writing, None
        self.retention.writing = None
        if writing is None:
            return
        try:
            writing.drop()
        except TROUBLE:
            logger.debug("A snapshot that was not finished stays; it is removed later.")
