"""Events on their way to the server, as the tracker sends them.

Visitors share a few lanes. A lane has one request under way at a time, so that a visitor's
events arrive in their order; what gathers meanwhile goes with the next batch. A full lane
makes its visitors wait. A batch that got no answer, or 429 or 5xx, is tried again under
the same batch id, with `sent_at` stamped anew; any other answer settles it.
"""

import asyncio
import json
import os
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import isnan
from typing import Any, Final

import aiohttp

from demo_store.simulator.ledger import Ledger, Outgoing

LANES: Final = 32
LANE_EVENTS: Final = 2_000
BATCH_EVENTS: Final = 500
GATHER_S: Final = 0.1
TIMEOUT: Final = aiohttp.ClientTimeout(total=10, connect=5)
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 8.0
LONGEST_RETRY_AFTER_S: Final = 60.0


class Clock:
    """Wall-clock time that never steps back: epoch ms now, on the monotonic clock."""

    def __init__(self) -> None:
        self._base_ms = time.time() * 1000 - time.monotonic() * 1000

    def now_ms(self) -> int:
        return int(self._base_ms + time.monotonic() * 1000)


@dataclass(frozen=True)
class Settled:
    """The server's word on a batch. rejected: index of each refused event, and why."""

    rejected: dict[int, str]


@dataclass(frozen=True)
class TryAgain:
    """after_s: what Retry-After asks for, where it does. too_fast: the server limits senders."""

    reason: str
    after_s: float | None = None
    too_fast: bool = False


class Lane:
    """One queue of events and the task that delivers them."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, site: str, ledger: Ledger, clock: Clock
    ) -> None:
        self._session = session
        self._url = f"{url}/events"
        self._site = site
        self._ledger = ledger
        self._clock = clock
        self._queue: asyncio.Queue[Outgoing] = asyncio.Queue(LANE_EVENTS)

    async def put(self, item: Outgoing) -> None:
        await self._queue.put(item)
        self._ledger.recorded += 1

    async def drained(self) -> None:
        """Return once the server has answered for every event."""
        await self._queue.join()

    async def run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            await asyncio.sleep(GATHER_S)
            while len(batch) < BATCH_EVENTS and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._deliver(batch)
            for _ in batch:
                self._queue.task_done()

    async def _deliver(self, batch: Sequence[Outgoing]) -> None:
        envelope: dict[str, Any] = {"batch": secrets.token_hex(12)}
        if self._site:
            envelope["site"] = self._site
        envelope["events"] = [item.body for item in batch]
        self._ledger.sent += len(batch)
        attempt = 0
        while True:
            envelope["sent_at"] = self._clock.now_ms()
            answer = await self._post(envelope, len(batch))
            if isinstance(answer, Settled):
                self._settle(batch, answer)
                return
            self._ledger.failures += 1
            self._ledger.too_fast += answer.too_fast
            self._ledger.away = answer.reason
            await asyncio.sleep(pause(attempt, answer.after_s))
            attempt += 1

    async def _post(self, envelope: dict[str, Any], count: int) -> Settled | TryAgain:
        try:
            async with self._session.post(
                self._url,
                data=json.dumps(envelope),
                headers={"Content-Type": "application/json"},
                timeout=TIMEOUT,
                allow_redirects=False,
            ) as response:
                self._ledger.reached = True
                return judge(
                    response.status,
                    await response.read(),
                    count,
                    retry_after=response.headers.get("Retry-After", ""),
                    location=response.headers.get("Location", ""),
                )
        except (aiohttp.ClientError, OSError) as error:
            return TryAgain(absence(error))

    def _settle(self, batch: Sequence[Outgoing], answer: Settled) -> None:
        self._ledger.away = ""
        for index, reason in answer.rejected.items():
            self._ledger.refuse([batch[index]], reason)
        self._ledger.accept(
            (item for index, item in enumerate(batch) if index not in answer.rejected),
            time.monotonic(),
        )


def judge(
    status: int, body: bytes, count: int, retry_after: str = "", location: str = ""
) -> Settled | TryAgain:
    """What an HTTP answer to a batch of `count` events means."""
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        told = {}
    if status == 202:
        return Settled(_rejected(told, count))
    error = told.get("error")
    error = error if isinstance(error, dict) else {}
    if status == 429 or status >= 500:
        reason = f"the server answers {status} {error.get('message', '')}".rstrip()
        return TryAgain(reason, seconds(retry_after), status == 429)
    if 300 <= status < 400:
        reason = f"{status}: the address leads elsewhere, to {location}"
    else:
        reason = f"{status} {error.get('code', '')}: {error.get('message', '')}".rstrip(" :")
    return Settled(_rejected(told, count) | dict.fromkeys(range(count), reason))


def _rejected(told: dict[str, Any], count: int) -> dict[int, str]:
    found: dict[int, str] = {}
    listed = told.get("rejected")
    for entry in listed if isinstance(listed, list) else []:
        if not isinstance(entry, dict):
            continue
        index = entry.get("index")
        if isinstance(index, int) and 0 <= index < count:
            found[index] = str(entry.get("message", "no reason given"))
    return found


def absence(error: aiohttp.ClientError | OSError) -> str:
    """Why there is no answer, in a few words."""
    if isinstance(error, TimeoutError):
        return "the server does not answer in time"
    number = getattr(error, "errno", None) or 0
    reason = os.strerror(number) if number > 0 else str(error) or type(error).__name__
    return f"the server is away ({reason})"


def seconds(retry_after: str) -> float | None:
    """What a Retry-After header asks for, as seconds or as a date; None where it says nothing."""
    try:
        wanted = float(retry_after)
    except ValueError:
        try:
            wanted = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except ValueError:
            return None
    return None if isnan(wanted) else min(max(wanted, 0.0), LONGEST_RETRY_AFTER_S)


def pause(attempt: int, after_s: float | None) -> float:
    """Seconds until the next attempt, with a little chance so that lanes do not march in step."""
    chance = 1 + random.random() / 4  # noqa: S311 - spreads retries, guards nothing
    if after_s is not None:
        return after_s + (chance - 1)
    return min(FIRST_PAUSE_S * 2.0 ** min(attempt, 10), LONGEST_PAUSE_S) * chance
