"""A run: visitors play, lanes deliver, the watcher reads what was seen, until it is time."""

import asyncio
import contextlib
import hashlib
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from demo_store.simulator.client import LANES, Clock, Lane
from demo_store.simulator.ledger import Journey, Ledger, Outgoing
from demo_store.simulator.scenarios import Step, cast
from demo_store.simulator.watcher import Watcher

# A visitor held up longer than this (a full lane) goes on from now, and does not catch up.
HELD_UP_MS: Final = 1_000
# How long to wait at the end for the last answers; less where there never was one.
DRAIN_S: Final = 15.0
DRAIN_UNREACHED_S: Final = 2.0
READY_S: Final = 3.0
LOOK_S: Final = 0.25


@dataclass(frozen=True)
class Options:
    """url: without a trailing slash. rate_ms: mean gap between a visitor's events.
    duration_s: None runs until told to stop. site: key, or "" for the default site.
    run: a token in every visitor's id, so that two runs never share a visitor."""

    url: str
    users: int = 10
    rate_ms: int = 500
    duration_s: float | None = None
    seed: int = 0
    site: str = ""
    run: str = ""
    leave_grace_s: float = 30.0


@dataclass
class Stops:
    """first: stop the visitors. second: do not wait for patterns still to come either."""

    first: asyncio.Event = field(default_factory=asyncio.Event)
    second: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


def visitor_id(options: Options, slot: int, turn: int) -> str:
    """An id that only this run gives, to this visitor."""
    told = f"{options.seed}:{slot}:{turn}".encode()
    return f"sim-{options.run}-{hashlib.sha256(told).hexdigest()[:12]}"


def wire(journey: Journey, step: Step, timestamp: int, view: str) -> dict[str, Any]:
    return {
        "user_id": journey.user_id,
        "action": step.action,
        "page": step.page,
        "timestamp": timestamp,
        "view": view,
        "metadata": step.metadata,
    }


async def visit(options: Options, slot: int, lane: Lane, ledger: Ledger, clock: Clock) -> None:
    """One visitor after another in one place, each with a journey, for ever."""
    rng = random.Random(f"{options.seed}:{slot}")  # noqa: S311 - journeys, not secrets
    await asyncio.sleep(rng.uniform(0, min(2 * options.rate_ms, 2_000)) / 1000)
    turn = 0
    while True:
        rng = random.Random(f"{options.seed}:{slot}:{turn}")  # noqa: S311
        scenario = cast(rng, options.users, slot, turn)
        journey = ledger.begin(visitor_id(options, slot, turn), scenario)
        finished = False
        try:
            await play(journey, scenario.steps(rng, options.rate_ms), lane, clock)
            finished = True
        finally:
            ledger.end(journey, time.monotonic(), finished)
        turn += 1


async def play(journey: Journey, steps: Iterator[Step], lane: Lane, clock: Clock) -> None:
    """Do each step when it is due. An event bears the moment it was due, never a later one."""
    due = clock.now_ms()
    view = 0
    for step in steps:
        due += step.wait_ms
        if step.action != "idle":
            due = max(due, clock.now_ms() - HELD_UP_MS)
        await asyncio.sleep(max(0.0, (due - clock.now_ms()) / 1000))
        view += step.action == "navigate"
        await lane.put(Outgoing(journey, step, wire(journey, step, due, str(view))))


class Run:
    """One run of the simulator; `ledger` may be looked at all the while."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.ledger = Ledger(leave_grace_s=options.leave_grace_s)
        self.state = "starting"
        self.started = time.monotonic()
        self.stops = Stops()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started

    async def go(self) -> None:
        """Play until the duration is over or the first stop, then settle what is under way."""
        clock = Clock()
        connector = aiohttp.TCPConnector(limit=LANES + 4)
        headers = {"User-Agent": "BehaviourLens simulator"}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
            watcher = Watcher(session, self.options.url, self.ledger, clock.now_ms())
            lanes = [
                Lane(session, self.options.url, self.options.site, self.ledger, clock)
                for _ in range(min(self.options.users, LANES))
            ]
            async with tasks([watcher.run()]):
                await self._either(watcher.ready.wait(), self.stops.first, READY_S)
                async with tasks([lane.run() for lane in lanes]):
                    await self._play(lanes, clock)
                    await self._settle(lanes, watcher)
        self.state = "ended"

    async def _play(self, lanes: list[Lane], clock: Clock) -> None:
        self.started = time.monotonic()
        self.state = "running"
        visitors = [
            visit(self.options, slot, lanes[slot % len(lanes)], self.ledger, clock)
            for slot in range(self.options.users)
        ]
        async with tasks(visitors) as running:
            # A visitor never returns: only a fault ends this before its time.
            await self._either(asyncio.gather(*running), self.stops.first, self.options.duration_s)
        self.stops.first.set()

    async def _settle(self, lanes: list[Lane], watcher: Watcher) -> None:
        self.state = "delivering the last events"
        everything = asyncio.gather(*(lane.drained() for lane in lanes))
        limit = DRAIN_S if self.ledger.reached else DRAIN_UNREACHED_S
        await self._either(everything, self.stops.second, limit)
        self.state = "waiting for patterns still to come"
        while (due := self.ledger.outstanding()) and not self.stops.second.is_set():
            if max(due) < time.monotonic() or self.ledger.blind:
                break
            await self._either(self.stops.second.wait(), self.stops.second, LOOK_S)
        if self.ledger.outstanding() and not self.stops.second.is_set():
            await watcher.catch_up()

    async def _either(self, awaitable: Any, stop: asyncio.Event, limit_s: float | None) -> None:
        """Wait for the awaitable, the stop or the limit, whichever is first."""
        task = asyncio.ensure_future(awaitable)
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({task, stopping}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        for future in (task, stopping):
            future.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await future


@contextlib.asynccontextmanager
async def tasks(coroutines: list[Any]) -> Any:
    """Tasks that run for the length of a block, and are over when it is."""
    running = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        yield running
    finally:
        for task in running:
            task.cancel()
        for outcome in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome


@contextlib.contextmanager
def signals(ask: Callable[[], None]) -> Iterator[None]:
    """SIGINT (Ctrl-C) and SIGTERM call `ask` instead of ending the process."""
    loop = asyncio.get_running_loop()
    caught: list[signal.Signals] = []
    # Not possible outside the main thread, nor on every platform: then they end it as ever.
    with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ask)
            caught.append(number)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
