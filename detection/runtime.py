"""The running parts of a serving process: sites, engine, pipeline, publisher, upkeep.

`AppConfig.ready` makes a Runtime in every process; only `behaviourlens.asgi` starts it.
"""

import atexit
import logging
import threading
import time
from collections import Counter

import msgspec
from django.conf import settings

from detection.engine.config import EngineConfig
from detection.engine.engine import Engine
from detection.engine.rules.abandonment import AbandonmentSettings
from detection.engine.rules.funnel import Funnel
from detection.keeping import Durable, InMemory, Keeping
from detection.lease import make_lease
from detection.outbox import Outbox
from detection.pipeline import Pipeline, State
from detection.publisher import Publisher
from detection.sites import SiteDirectory
from detection.trouble import DatabaseTrouble
from detection.upkeep import Upkeep

logger = logging.getLogger(__name__)

# The server opens its port when it can take events, or knows that it has to wait; or after this
# time, with much to recover or without a database.
START_S = 5.0


class Counters:
    """What happened at the door since the start, in events. Touched by the event loop only.

    duplicates: of batches that had been accepted before. corrected: accepted, with another time
    than they claimed. refusals: requests that were refused whole, by code.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.duplicates = 0
        self.corrected = 0
        self.rejected = 0
        self.bots = 0
        self.refusals: Counter[str] = Counter()

    def refused(self, code: str) -> None:
        self.refusals[code] += 1


class Status(msgspec.Struct, frozen=True):
    """How the process is doing.

    owner: who runs the engine while this process waits, "" otherwise. database: what the database
    last said while it refuses, "" while all is well. alive: no thread has ended that should run.
    """

    state: State
    owner: str
    database: str
    alive: bool


def engine_config() -> EngineConfig:
    """The engine's numbers: its own defaults, but for what the environment sets."""
    funnel = Funnel(leave_grace_ms=settings.BL_LEAVE_GRACE * 1000)
    return EngineConfig(
        abandonment=AbandonmentSettings(funnels=(funnel,)),
        max_bytes=settings.BL_MAX_MEMORY_MB * 1_000_000,
        max_visitors=settings.BL_MAX_VISITORS,
    )


class Runtime:
    """One per process: made in every process, started where it serves."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.sites = SiteDirectory()
        self.trouble = DatabaseTrouble()
        self.outbox = Outbox()
        self.lease = make_lease()
        self.upkeep = Upkeep(self.outbox, self.trouble, self._owns)
        self.pipeline = Pipeline(
            self._keeping(), self.outbox, settings.BL_QUEUE_EVENTS, self.trouble
        )
        self.publisher = Publisher(self.outbox, self.sites, self.trouble)
        self._lock = threading.Lock()
        self._started = False
        self._stopped = False

    def _keeping(self) -> Keeping:
        config = engine_config()
        if settings.BL_JOURNAL:
            return Durable(config, self.lease, self.outbox, self.upkeep)
        return InMemory(Engine(config), self.lease)

    def _owns(self) -> bool:
        return self.pipeline.state is State.RUNNING

    def start(self) -> None:
        """Start the threads, once, and see to it that they end in order with the process."""
        with self._lock:
            if self._started:
                return
            self._started = True
        if not settings.BL_JOURNAL:
            logger.warning("BL_JOURNAL is off: what is accepted is lost when the process ends.")
        if settings.BL_INSECURE_HTTP and not settings.DEBUG:
            logger.warning(
                "BL_INSECURE_HTTP is on: passwords and cookies travel unencrypted. That is for a "
                "trusted local network only."
            )
        until = time.monotonic() + START_S
        self.publisher.start()
        self.pipeline.start()
        self.upkeep.start()
        self.publisher.ready.wait(START_S)
        self.pipeline.settled.wait(max(0.0, until - time.monotonic()))
        # Daphne ends on SIGTERM by returning from its reactor, so this is where every
        # server's clean end comes by; the threads are still running then.
        atexit.register(self.stop)

    @property
    def alive(self) -> bool:
        """False where a thread that was started has ended."""
        parts = (self.pipeline, self.publisher, self.upkeep)
        return not self._started or all(part.alive for part in parts)

    def status(self) -> Status:
        """How the process is doing; asks nobody, so it never waits."""
        return Status(
            state=self.pipeline.state,
            owner=self.pipeline.holder,
            database=self.trouble.reason,
            alive=self.alive,
        )

    def stop(self) -> None:
        """Finish what was accepted: first the engine, then what it said, then a snapshot."""
        with self._lock:
            if not self._started or self._stopped:
                return
            self._stopped = True
        self.pipeline.drain()
        self.upkeep.stop()
        self.publisher.stop()
        all_stored = not len(self.outbox)
        self.pipeline.end(all_stored)
        if all_stored:
            logger.info("All that was accepted has been handled; stopped.")
        elif settings.BL_JOURNAL:
            logger.warning(
                "Stopped; what could not be stored comes from the journal at the next start."
            )
