"""The running parts of a serving process: sites, engine, pipeline, publisher.

`AppConfig.ready` makes a Runtime in every process; only `behaviourlens.asgi` starts it.
"""

import atexit
import logging
import threading
from collections import Counter

from django.conf import settings

from detection.engine.config import EngineConfig
from detection.engine.engine import Engine
from detection.engine.rules.abandonment import AbandonmentSettings
from detection.engine.rules.funnel import Funnel
from detection.pipeline import Outbox, Pipeline
from detection.publisher import Publisher
from detection.sites import SiteDirectory

logger = logging.getLogger(__name__)

# The server opens its port when the sites are known, or after this time without a database.
START_S = 5.0


class Counters:
    """What happened at the door since the start. Touched by the server's event loop only."""

    def __init__(self) -> None:
        self.accepted = 0
        self.rejected = 0
        self.bots = 0
        self.refusals: Counter[str] = Counter()

    def refused(self, code: str) -> None:
        self.refusals[code] += 1


def engine_config() -> EngineConfig:
    """The engine's numbers: its own defaults, but for what the environment sets."""
    funnel = Funnel(leave_grace_ms=settings.BL_LEAVE_GRACE * 1000)
    return EngineConfig(abandonment=AbandonmentSettings(funnels=(funnel,)))


class Runtime:
    """One per process: made in every process, started where it serves."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.sites = SiteDirectory()
        self.outbox = Outbox()
        self.pipeline = Pipeline(Engine(engine_config()), self.outbox, settings.BL_QUEUE_EVENTS)
        self.publisher = Publisher(self.outbox, self.sites)
        self._lock = threading.Lock()
        self._started = False
        self._stopped = False

    def start(self) -> None:
        """Start both threads, once, and see to it that they end in order with the process."""
        with self._lock:
            if self._started:
                return
            self._started = True
        self.publisher.start()
        self.pipeline.start()
        self.publisher.ready.wait(START_S)
        # Daphne ends on SIGTERM by returning from its reactor, so this is where every
        # server's clean end comes by; the threads are still running then.
        atexit.register(self.stop)

    @property
    def alive(self) -> bool:
        """False where a thread that was started has ended."""
        return not self._started or (self.pipeline.alive and self.publisher.alive)

    def stop(self) -> None:
        """Finish what was accepted: first the engine, then what it said."""
        with self._lock:
            if not self._started or self._stopped:
                return
            self._stopped = True
        self.pipeline.stop()
        self.publisher.stop()
        logger.info("All that was accepted has been handled; stopped.")
