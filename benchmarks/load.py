"""Visitors for benchmarks: a process of its own that sends envelopes as fast as it is told.

Open loop: requests fall due at a given rate, whatever the server makes of them. One that finds
every connection busy is held back and counted. Closed loop (no rate): each connection sends its
next request when it has the answer to its last (and a while later where it was refused), which is
as fast as the server can.

It speaks HTTP/1.1 over bare sockets, since a full client would cost more than the server does.
"""

import asyncio
import gc
import json
import multiprocessing
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field

SENT_AT = 1_800_000_000_000  # all events are timed against this, so that bodies need no clock
ACTIONS = ("navigate", "click", "scroll")
REFUSED_S = 0.1  # how long a connection of a closed loop rests when it was refused
ANSWER_S = 30.0  # how long after the end an answer is waited for


@dataclass(frozen=True)
class Plan:
    """What to send. rate: requests a second, None for a closed loop. events: of each request."""

    port: int
    seconds: float
    connections: int = 64
    rate: float | None = None
    events: int = 20
    visitors: int = 2_000
    name: str = "load"


@dataclass
class Outcome:
    """What came of it.

    took: by status, how long each answer took from the sending of its request, ms.
    accepted: the batches answered 202. unanswered: batches whose connection broke or stayed
    silent. held: requests that fell due while every connection was busy. unsaid: refusals without
    Retry-After. seconds: how long it took altogether.
    """

    took: dict[int, list[float]] = field(default_factory=dict)
    accepted: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    held: int = 0
    unsaid: int = 0
    seconds: float = 0.0

    @property
    def sent(self) -> int:
        return sum(map(len, self.took.values())) + len(self.unanswered)

    def count(self, status: int) -> int:
        return len(self.took.get(status, ()))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0-1) of the values do not exceed; 0.0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class _Bodies:
    """Envelopes as bytes: each visitor the same events again, under ever new batch ids.

    A visitor stays on a page of their own; every fiftieth walks up and down, and makes patterns.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._made = 0
        self._ready: dict[int, bytes] = {}

    def _events(self, who: int) -> bytes:
        pages = ("/", "/products", "/search") if who % 50 == 0 else (f"/products/{who % 500}",)
        count = self._plan.events
        return json.dumps(
            [
                {
                    "user_id": f"{self._plan.name}-{who}",
                    "action": ACTIONS[n % len(ACTIONS)],
                    "page": pages[n // 3 % len(pages)],
                    "timestamp": SENT_AT - 50 * (count - n),
                    "view": f"view-{n // 10}",
                    "metadata": {"x": 10 * n, "y": 5 * n, "target": "a.product"},
                }
                for n in range(count)
            ]
        ).encode()

    def next(self) -> tuple[str, bytes]:
        """A batch id and the request that carries it."""
        number = self._made
        self._made += 1
        who = number % self._plan.visitors
        events = self._ready.get(who)
        if events is None:
            events = self._ready[who] = self._events(who)
        batch = f"{self._plan.name}-{number}"
        body = b'{"batch":"%b","sent_at":%d,"events":%b}' % (batch.encode(), SENT_AT, events)
        head = b"POST /events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n"
        return batch, b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)


class _Connection(asyncio.Protocol):
    """One request at a time; tells the load when it is free again."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._batch = ""
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._load.free.append(self)

    def send(self) -> None:
        assert self._transport is not None
        self._batch, request = self._load.bodies.next()
        self._load.busy += 1
        self._began = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, ended, body = self._buffer.partition(b"\r\n\r\n")
        if not ended:
            return
        head = head.lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._buffer = b""
        status = int(head[9:12])
        self._load.answered(
            self._batch,
            status,
            (time.perf_counter() - self._began) * 1000,
            b"\r\nretry-after:" in head,
        )
        self._batch = ""
        self._load.freed(self, refused=status != 202)

    def connection_lost(self, error: Exception | None) -> None:
        self._load.lost(self, self._batch)
        self._batch = ""

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class _Load:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.outcome = Outcome()
        self.bodies = _Bodies(plan)
        self.free: deque[_Connection] = deque()
        self.busy = 0
        self._ending = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> Outcome:
        connections = [await self._connect() for _ in range(self.plan.connections)]
        began = time.perf_counter()
        if self.plan.rate is None:
            await self._closed(began)
        else:
            await self._open(began, self.plan.rate)
        self._ending = True
        until = time.perf_counter() + ANSWER_S
        while self.busy and time.perf_counter() < until:
            await asyncio.sleep(0.005)
        self.outcome.seconds = time.perf_counter() - began
        for connection in connections:
            connection.close()
        await asyncio.sleep(0)
        return self.outcome

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        return (
            await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self.plan.port)
        )[1]

    async def _closed(self, began: float) -> None:
        while self.free:
            self.free.popleft().send()
        await asyncio.sleep(self.plan.seconds - (time.perf_counter() - began))

    async def _open(self, began: float, rate: float) -> None:
        due = 0
        while (now := time.perf_counter() - began) < self.plan.seconds:
            while due < now * rate:
                due += 1
                if self.free:
                    self.free.popleft().send()
                else:
                    self.outcome.held += 1
            await asyncio.sleep(0.001)

    def answered(self, batch: str, status: int, took: float, retry_after: bool) -> None:
        self.busy -= 1
        self.outcome.took.setdefault(status, []).append(took)
        if status == 202:
            self.outcome.accepted.append(batch)
        elif not retry_after:
            self.outcome.unsaid += 1

    def freed(self, connection: _Connection, refused: bool) -> None:
        if self.plan.rate is not None or self._ending:
            self.free.append(connection)
        elif refused:
            asyncio.get_running_loop().call_later(REFUSED_S, self.freed, connection, False)
        else:
            connection.send()

    def lost(self, connection: _Connection, batch: str) -> None:
        if batch:
            self.busy -= 1
            self.outcome.unanswered.append(batch)
        elif connection in self.free:
            self.free.remove(connection)
        if not self._ending:
            task = asyncio.ensure_future(self._again())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _again(self) -> None:
        await self._connect()
        if self.plan.rate is None and self.free:
            self.free.popleft().send()


def send(plan: Plan) -> Outcome:
    """Carry out a plan in this process."""
    gc.disable()  # a collection would show up in the server's latencies
    return asyncio.run(_Load(plan).run())


class Sender:
    """A process that carries out plans; a context manager."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def __enter__(self) -> "Sender":
        self._pool.submit(time.time).result()  # it has started before anything is measured
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def start(self, plan: Plan) -> "Future[Outcome]":
        return self._pool.submit(send, plan)

    def run(self, plan: Plan) -> Outcome:
        return self.start(plan).result(plan.seconds + ANSWER_S + 30)


def statuses(outcome: Outcome) -> str:
    """`202: 1500, 503: 20` of an outcome."""
    counted = Counter({status: len(took) for status, took in outcome.took.items()})
    return ", ".join(f"{status}: {count}" for status, count in sorted(counted.items()))
