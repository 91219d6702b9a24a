"""How the pipeline keeps what it accepts: in the database, or in memory alone.

The pipeline decides when; this knows how. Everything here is called from the pipeline's thread.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from django.db import connection

from detection import journal, recovery, snapshots
from detection.batches import Batch, Seen
from detection.engine.config import EngineConfig, encode_config
from detection.engine.engine import Engine
from detection.engine.events import Event
from detection.engine.saving import Capture
from detection.journal import Displaced, Journal
from detection.lease import Lease
from detection.outbox import Outbox
from detection.recovery import Recovered, Tell
from detection.snapshots import Beginning
from detection.upkeep import Upkeep

logger = logging.getLogger(__name__)

# A snapshot is due after so many events, or so long, whichever is first; never sooner than this.
SNAPSHOT_EVENTS: Final = 200_000
SNAPSHOT_S: Final = 300.0
SNAPSHOT_PAUSE_S: Final = 30.0
# Visitors encoded in one turn of the pipeline, which holds up events for some ms.
SNAPSHOT_VISITORS: Final = 100
# How often the owner makes sure that it still is, and that the database takes writes.
CHECK_S: Final = 2.0


# Of each batch, the events of each of its visitors.
Groups = list[list[list[Event]]]


class Keeping(Protocol):
    """What the pipeline needs to know of where things are kept."""

    @property
    def position(self) -> int:
        """Of the journal: how many rows have been kept."""

    def own(self) -> bool:
        """Become the owner of the engine, or stay it; False while another process is."""

    def holder(self) -> str:
        """Who the owner is, for people; "" where that is not known."""

    def recover(self, tell: Tell) -> Recovered:
        """The engine as it was, after `tell` was given what had not been told."""

    def configure(self, engine: Engine, now: int) -> None:
        """See that the engine runs with the configuration of now."""

    def keep(self, batches: Sequence[Batch], groups: Groups) -> None:
        """Keep the batches, each visitor's events together. Raises Displaced, or TROUBLE."""

    def mend(self) -> bool:
        """After trouble: whether the batches kept last are there after all. Raises as `keep`."""

    def check(self) -> None:
        """Raises Displaced where the ownership has been lost, TROUBLE where nothing can be kept."""

    def turn(self, engine: Engine, seen: Seen) -> bool:
        """A little upkeep between two turns; True while there is more to do at once."""

    def drop(self, engine: Engine | None) -> None:
        """No snapshot is wanted now, or the engine has been given up (None)."""

    def close(self, engine: Engine, seen: Seen) -> None:
        """The clean end, once every change has been stored."""

    def release(self) -> None:
        """Let another process own the engine."""


class InMemory:
    """Nothing outlives the process; with a lease, there is one owner all the same."""

    def __init__(self, engine: Engine, lease: Lease | None = None) -> None:
        self._engine = engine
        self._lease = lease
        self.position = 0

    def own(self) -> bool:
        return self._lease is None or self._lease.acquire()

    def holder(self) -> str:
        return self._lease.holder() if self._lease else ""

    def recover(self, tell: Tell) -> Recovered:
        return Recovered(self._engine, Seen(), 0, self._engine.now, 0)

    def configure(self, engine: Engine, now: int) -> None:
        """It was made with the configuration of now."""

    def keep(self, batches: Sequence[Batch], groups: Groups) -> None:
        self.position += sum(map(len, groups))

    def mend(self) -> bool:
        return False

    def check(self) -> None:
        if self._lease is not None and not self._lease.held() and not self._lease.acquire():
            raise Displaced("another process has taken over")

    def turn(self, engine: Engine, seen: Seen) -> bool:
        return False

    def drop(self, engine: Engine | None) -> None:
        """Nothing is held beside the engine."""

    def close(self, engine: Engine, seen: Seen) -> None:
        """Nothing is kept."""

    def release(self) -> None:
        if self._lease is not None:
            self._lease.release()


class Durable:
    """The journal and its snapshots, under a lease."""

    def __init__(self, config: EngineConfig, lease: Lease, outbox: Outbox, upkeep: Upkeep) -> None:
        self._config = config
        self._lease = lease
        self._outbox = outbox
        self._upkeep = upkeep
        self._journal = Journal()
        self._unsure = 0  # rows of a commit of which nobody knows whether it succeeded
        self._snapshot_at = 0.0
        self._snapshot_position = 0
        self._events_since = 0
        self._capture: Capture | None = None
        self._handing: list[Beginning | bytes | None] = []

    @property
    def position(self) -> int:
        return self._journal.position

    def own(self) -> bool:
        self._journal.ready()
        if not self._lease.acquire():
            return False
        self._lease.announce()
        return True

    def holder(self) -> str:
        return self._lease.holder()

    def recover(self, tell: Tell) -> Recovered:
        recovered = recovery.recover(self._config, tell)
        self._journal.position = recovered.position
        self._unsure = 0
        self._snapshot_at = time.monotonic()
        self._snapshot_position = recovered.snapshot
        # A tail of any length need not be read a second time.
        self._events_since = SNAPSHOT_EVENTS if recovered.position > recovered.snapshot else 0
        return recovered

    def configure(self, engine: Engine, now: int) -> None:
        told = encode_config(self._config)
        if engine.config == self._config and journal.config_at(self._journal.position) == told:
            return
        self._journal.write_config(told, now)
        engine.configure(self._config)

    def keep(self, batches: Sequence[Batch], groups: Groups) -> None:
        if not self._lease.held():
            raise Displaced("the session with the database was lost")
        self._unsure = sum(map(len, groups))
        self._journal.write(groups, batches)
        self._unsure = 0
        self._events_since += sum(len(batch.events) for batch in batches)

    def mend(self) -> bool:
        if connection.vendor == "sqlite":
            connection.close()  # the lease is a lock on a file of its own
        elif not self._lease.held() or not connection.is_usable():
            # With its session the lease has gone, and others may have written since.
            raise Displaced("the session with the database was lost")
        self.check()
        written = bool(self._unsure) and self._journal.written()
        if written:
            self._journal.position += self._unsure
        self._unsure = 0
        return written

    def check(self) -> None:
        self._journal.ready()
        if not self._lease.held():
            raise Displaced("the session with the database was lost")
        self._lease.announce()

    def turn(self, engine: Engine, seen: Seen) -> bool:
        if self._capture is None and not self._handing:
            if not self._due():
                return False
            self._begin(engine, seen)
        if self._capture is not None and not self._handing:
            self._handing.append(self._capture.take(SNAPSHOT_VISITORS))
            if self._capture.done:
                self._capture = None
                self._handing.append(None)
        if self._handing and self._upkeep.offer(self._handing[0]):
            del self._handing[0]
            return True
        return False

    def drop(self, engine: Engine | None) -> None:
        if engine is not None:
            engine.drop_capture()
        self._capture = None
        self._handing = []

    def close(self, engine: Engine, seen: Seen) -> None:
        if self._journal.position == self._snapshot_position or not self._lease.held():
            return
        engine.drop_capture()
        snapshots.write(self._beginning(engine, seen), _pieces(engine))

    def release(self) -> None:
        self._lease.release()

    def _due(self) -> bool:
        since = time.monotonic() - self._snapshot_at
        if not self._events_since or since < SNAPSHOT_PAUSE_S:
            return False
        return self._events_since >= SNAPSHOT_EVENTS or since >= SNAPSHOT_S

    def _begin(self, engine: Engine, seen: Seen) -> None:
        self._snapshot_at = time.monotonic()
        self._events_since = 0
        self._handing.append(self._beginning(engine, seen))
        self._capture = engine.capture()

    def _beginning(self, engine: Engine, seen: Seen) -> Beginning:
        return Beginning(
            position=self._journal.position,
            clock=engine.now,
            stats=snapshots.stats_of(engine),
            keys=seen.keys(),
            changes=self._outbox.put_in,
        )


def _pieces(engine: Engine) -> Iterator[bytes]:
    capture = engine.capture()
    while not capture.done:
        yield capture.take(1_000)
