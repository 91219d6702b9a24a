"""A load of visitors against a real server: they send as browsers do, and note each answer."""

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

from tests.journeys import LONGEST, Part, any_journey
from tests.server import Server

TIMEOUT = aiohttp.ClientTimeout(total=20)
ACCEPTED = "accepted"
NO_ANSWER = ""
# After these nobody knows whether it was kept: a database may have failed while it committed.
UNSURE = {NO_ANSWER, "database"}


@dataclass(eq=False)
class Sent:
    """A batch, with what was answered each time it was sent: `accepted`, the code of the error, or
    "" where there was no answer.
    """

    batch: str
    marks: tuple[str, ...]
    answers: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        return ACCEPTED in self.answers

    @property
    def refused(self) -> bool:
        """It was answered each time, and always with a clear no: it must not have been kept."""
        return bool(self.answers) and not UNSURE & set(self.answers) and not self.accepted


class Traffic:
    """Visitors, each with one batch on its way at a time; a context manager.

    servers: where to send; of several the next one after each no, as a balancer does. rate:
    batches a second, of all visitors together. Of the batches some are `careless` (sent once,
    whatever comes of it) and some `nameless` (without an id, so sent again only after a clear no);
    some are `repeated` after their 202, as if that had not arrived. The same seed gives the same
    journeys.

    Every event carries a mark of its own in its metadata, under `n`.
    """

    def __init__(
        self,
        *servers: Server | str,
        visitors: int = 20,
        rate: float = 60.0,
        seed: str = "traffic",
        careless: float = 0.0,
        nameless: float = 0.0,
        repeated: float = 0.02,
        most_pause: float = 0.5,
    ) -> None:
        """most_pause: the longest that a batch which was not taken waits until its next try, s."""
        self.urls = [s if isinstance(s, str) else s.url for s in servers]
        self.sent: list[Sent] = []
        self.accepted: set[str] = set()  # the marks of what was answered 202
        self.statuses: Counter[int] = Counter()
        self.refusals: Counter[str] = Counter()  # by the code in the 503's body
        self.latencies: list[float] = []  # of each 202, ms
        self.refusal_ms: list[float] = []  # of each 503, ms
        self.problems: list[str] = []  # answers that should never come
        self.visitors: set[str] = set()
        self._slots = visitors
        self._gap = visitors / rate
        self._seed = seed
        self._careless = careless
        self._nameless = nameless
        self._repeated = repeated
        self._most_pause = most_pause
        self._on_the_way = 0
        self._held = threading.Event()
        self._ending = threading.Event()
        self._dropped = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop(deliver=False)

    def start(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="traffic")
        self._thread.start()
        return self

    def hold(self, timeout: float = 30.0) -> None:
        """Begin nothing new, and wait until what is on its way has been taken."""
        self._held.set()
        self._until_delivered(timeout)

    def resume(self) -> None:
        self._held.clear()

    def stop(self, deliver: bool = True, timeout: float = 60.0) -> None:
        """End; with `deliver` when all that was begun has been taken, and fails where it is not."""
        self._ending.set()
        try:
            if deliver:
                self._until_delivered(timeout)
        finally:
            self._dropped.set()
            if self._thread is not None:
                self._thread.join(30)
                self._thread = None

    @property
    def undelivered(self) -> list[Sent]:
        """Batches that could be sent again and were not taken."""
        return [sent for sent in list(self.sent) if not sent.accepted]

    @property
    def refused(self) -> set[str]:
        """The marks of batches that were answered each time, and always with a clear no."""
        return {mark for sent in list(self.sent) if sent.refused for mark in sent.marks}

    def wait_for(self, accepted: int, timeout: float = 30.0) -> None:
        """Until so many more events have been answered 202."""
        goal = len(self.accepted) + accepted
        deadline = time.monotonic() + timeout
        while len(self.accepted) < goal:
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"nothing is accepted: {self.statuses} {self.problems[:3]} {self.refusals}"
                )
            time.sleep(0.01)

    def _until_delivered(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while self._on_the_way:
            if time.monotonic() > deadline:
                raise AssertionError(f"{self._on_the_way} batches cannot be delivered")
            time.sleep(0.01)

    async def _run(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
            await asyncio.gather(*(_Slot(self, n, session).run() for n in range(self._slots)))

    async def rest(self, seconds: float) -> bool:
        """Wait before another try; False when there should be none."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._dropped.is_set():
            await asyncio.sleep(min(0.02, left))
        return not self._dropped.is_set()

    async def turn(self, seconds: float) -> bool:
        """Wait before something new; False when nothing new should begin."""
        until = time.monotonic() + seconds
        while not self._ending.is_set() and (self._held.is_set() or time.monotonic() < until):
            await asyncio.sleep(min(0.02, max(0.001, until - time.monotonic())))
        return not self._ending.is_set()


class _Slot:
    """One visitor at a time, one after another."""

    def __init__(self, traffic: Traffic, number: int, session: aiohttp.ClientSession) -> None:
        self._traffic = traffic
        self._session = session
        self._number = number
        self._name = f"{traffic._seed}-{number}"
        self._rng = random.Random(self._name)
        self._marks = 0
        self._lives = 0
        self._turned = 0

    async def run(self) -> None:
        if not await self._traffic.turn(self._rng.uniform(0, self._traffic._gap)):
            return
        while True:
            self._lives += 1
            visitor = f"{self._name}-{self._lives}"
            self._traffic.visitors.add(visitor)
            skew = self._rng.choice((0, 0, 3_600_000, -3_600_000))
            for _ in range(self._rng.choice((1, 1, 2, 3))):
                began = time.time() - LONGEST
                for part in any_journey(self._rng):
                    pause = part.pause + self._rng.expovariate(1 / self._traffic._gap)
                    if not await self._traffic.turn(pause):
                        return
                    await self._part(visitor, part, began, skew)

    async def _part(self, visitor: str, part: Part, began: float, skew: int) -> None:
        events = [
            self._event(visitor, act.action, act.page, began + act.at, act.metadata, skew)
            for act in part.acts
        ]
        if self._rng.random() < 0.1:  # a server tells of several visitors at once
            friend = f"{visitor}-friend"
            events.insert(0, self._event(friend, "navigate", "/", began, None, skew))
            events.append(self._event(friend, "click", "/", began + 1, None, skew))
        kind = self._rng.random()
        traffic = self._traffic
        nameless = kind < traffic._nameless
        careless = traffic._nameless <= kind < traffic._nameless + traffic._careless
        envelope: dict[str, Any] = {"events": events}
        if not nameless:
            envelope["batch"] = f"b-{events[0]['metadata']['n']}"
        sent = Sent(envelope.get("batch", ""), tuple(e["metadata"]["n"] for e in events))
        traffic.sent.append(sent)
        traffic._on_the_way += 1
        try:
            await self._deliver(sent, envelope, skew, once=careless)
        finally:
            traffic._on_the_way -= 1

    async def _deliver(self, sent: Sent, envelope: dict[str, Any], skew: int, once: bool) -> None:
        pause = 0.05
        while True:
            answer = await self._attempt(sent, envelope, skew)
            if answer == ACCEPTED:
                self._traffic.accepted.update(sent.marks)
                if sent.batch and self._rng.random() < self._traffic._repeated:
                    await self._attempt(sent, envelope, skew)
                return
            unsure = answer in UNSURE and not sent.batch
            if once or unsure or not await self._traffic.rest(pause * self._rng.uniform(0.5, 1)):
                return
            self._turned += 1
            pause = min(pause * 2, self._traffic._most_pause)

    async def _attempt(self, sent: Sent, envelope: dict[str, Any], skew: int) -> str:
        """What was answered."""
        traffic = self._traffic
        envelope["sent_at"] = time.time_ns() // 1_000_000 + skew
        url = traffic.urls[self._turned % len(traffic.urls)]
        began = time.perf_counter()
        status, body = 0, {}
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError):
            async with self._session.post(f"{url}/events", json=envelope) as response:
                status = response.status  # it holds, even if the body does not arrive
                body = await response.json()
        took = (time.perf_counter() - began) * 1000
        traffic.statuses[status] += 1
        answer = _answer(status, body)
        sent.answers.append(answer)
        if status == 202:
            traffic.latencies.append(took)
            if body.get("rejected"):
                traffic.problems.append(f"rejected: {body}")
        elif status == 503:
            traffic.refusal_ms.append(took)
            traffic.refusals[answer] += 1
        elif status:
            traffic.problems.append(f"{status}: {body}")
        return answer

    def _event(
        self,
        visitor: str,
        action: str,
        page: str,
        at: float,
        metadata: dict[str, Any] | None,
        skew: int,
    ) -> dict[str, Any]:
        self._marks += 1
        return {
            "user_id": visitor,
            "action": action,
            "page": page,
            "timestamp": round(at * 1000) + skew,
            "metadata": {"n": f"{self._name}-{self._marks}", **(metadata or {})},
        }


def _answer(status: int, body: dict[str, Any]) -> str:
    if status == 202:
        return ACCEPTED
    return str(body.get("error", {}).get("code", NO_ANSWER))
