"""Batches: the events of one request on their way to the engine, and the request that waits."""

import asyncio
import logging
from collections.abc import Iterable
from enum import StrEnum

from detection.engine.events import Event

logger = logging.getLogger(__name__)

Key = tuple[int, str]


class Refusal(StrEnum):
    """Why a batch is not taken. Its sender may send it again later."""

    BUSY = "busy"  # the queue is full
    STARTING = "starting"  # what was accepted before is being read again
    STANDBY = "standby"  # another process owns the engine of this database
    DATABASE = "database"  # the database refuses, so nothing can be kept
    STOPPING = "stopping"  # the process is about to end


class Refused(Exception):
    """The batch was taken into the queue and could not be kept after all."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Batch:
    """The events of one request.

    arrival: when they reached the server, epoch ms; the `now` of each of them.
    size: bytes of the body they came in.
    duplicate: set by the pipeline where its id had been seen: nothing was counted.
    """

    __slots__ = ("_future", "_loop", "arrival", "duplicate", "events", "key", "size")

    def __init__(
        self, site: int, arrival: int, events: list[Event], batch_id: str = "", size: int = 0
    ) -> None:
        """batch_id: the sender's name for it, the same when it is sent again; "" for none."""
        self.key: Key | None = (site, batch_id) if batch_id else None
        self.arrival = arrival
        self.events = events
        self.size = size
        self.duplicate = False
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] = self._loop.create_future()

    async def done(self) -> None:
        """Wait until the events are kept and the engine has seen them. Raises Refused."""
        await self._future

    def answer(self) -> None:
        """Called by the pipeline, from its own thread: it is kept, and the engine has seen it."""
        self._call(None)

    def refuse(self, reason: Refusal) -> None:
        """Called by the pipeline, from its own thread: it is not kept."""
        self._call(reason)

    def _call(self, reason: Refusal | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._settle, reason)
        except RuntimeError:
            logger.debug("The server's loop is closed; nobody waits for this answer.")

    def _settle(self, reason: Refusal | None) -> None:
        if self._future.done():
            return
        if reason is None:
            self._future.set_result(None)
        else:
            self._future.set_exception(Refused(reason))


class Seen:
    """The ids of the batches kept lately, so that one sent again is not counted again.

    Bounded: the oldest of more than `most` are forgotten.
    """

    def __init__(self, keys: Iterable[Key] = (), most: int = 100_000) -> None:
        self._most = most
        self._keys: dict[Key, None] = {}
        for key in keys:
            self.add(key)

    def __contains__(self, key: Key | None) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: Key | None) -> None:
        """Remember it, as the newest; a batch without an id is nothing to remember."""
        if key is None or key in self._keys:
            return
        self._keys[key] = None
        if len(self._keys) > self._most:
            del self._keys[next(iter(self._keys))]

    def keys(self) -> list[Key]:
        """All of them, the oldest first."""
        return list(self._keys)
