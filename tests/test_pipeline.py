"""The pipeline with a real engine: order, answers, questions, a full outbox, an end that loses
nothing."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from detection.batches import Batch, Refusal, Seen
from detection.clock import now_ms
from detection.engine.engine import Engine
from detection.engine.events import Event
from detection.engine.patterns import Change, Identified
from detection.keeping import InMemory
from detection.outbox import Outbox
from detection.pipeline import Pipeline
from detection.queueing import MOST_BYTES, EngineUnavailable
from detection.trouble import DatabaseTrouble
from tests.making import opened

WAIT_S = 10.0


def clicks(count: int, user_id: str = "u1", action: str = "click") -> list[Event]:
    now = now_ms()
    return [Event(1, user_id, action, "/a", now) for _ in range(count)]


def journey(*pages: str, user_id: str = "u1") -> list[Event]:
    now = now_ms()
    return [Event(1, user_id, "navigate", page, now + n) for n, page in enumerate(pages)]


LOOP = ("/a", "/b", "/a", "/b", "/a")


class Running:
    """A pipeline and what a test needs of it."""

    def __init__(self, engine: Engine, capacity: int = 1000, outbox: int = 1000) -> None:
        self.outbox = Outbox(outbox)
        self.pipeline = Pipeline(InMemory(engine), self.outbox, capacity, DatabaseTrouble())

    def start(self) -> None:
        self.pipeline.start()
        assert self.pipeline.settled.wait(WAIT_S)

    def stop(self) -> None:
        self.pipeline.drain()
        self.pipeline.end(all_stored=False)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The thread is busy with a question meanwhile, so that what is offered waits."""
        within, go_on = threading.Event(), threading.Event()

        def hold(_: Engine) -> None:
            within.set()
            go_on.wait(WAIT_S)

        asker = threading.Thread(target=lambda: self.pipeline.ask(hold, WAIT_S))
        asker.start()
        assert within.wait(WAIT_S)
        yield
        go_on.set()
        asker.join(WAIT_S)

    def taken(self, batch: Batch) -> bool:
        return self.pipeline.offer(batch) is None

    def offer(self, *batches: list[Event], arrival: int | None = None) -> list[bool]:
        """Offer each batch; once those that were taken are answered, say which were."""

        async def offering() -> list[bool]:
            made = [Batch(1, arrival or now_ms(), events) for events in batches]
            taken = [self.taken(batch) for batch in made]
            for batch, was_taken in zip(made, taken, strict=True):
                if was_taken:
                    await asyncio.wait_for(batch.done(), WAIT_S)
            return taken

        return asyncio.run(offering())

    def total(self) -> int:
        return self.pipeline.ask(lambda engine: engine.stats(1).total_events)


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running(Engine())
    made.start()
    yield made
    made.stop()


def until(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not found():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.005)


# --- answers and changes ---------------------------------------------------------------


def test_an_answer_means_that_the_engine_has_seen_the_events(running: Running) -> None:
    for n in range(1, 30):
        assert running.offer(clicks(10)) == [True]
        assert running.total() == n * 10


def test_an_answer_means_that_the_changes_wait_for_the_publisher(running: Running) -> None:
    running.offer(journey(*LOOP))
    (change,) = running.outbox.wait(0)
    assert isinstance(change, Change)
    assert change.pattern.type == "navigation-loop"


def test_batches_are_seen_in_the_order_of_their_coming(running: Running) -> None:
    running.offer(*[clicks(1, f"u{n}") for n in range(50)])
    seen = running.pipeline.ask(lambda engine: engine.active_visitors(1, 60_000))
    assert [visitor.user_id for visitor in reversed(seen)] == [f"u{n}" for n in range(50)]


def test_arrivals_never_go_back(running: Running) -> None:
    ahead = now_ms() + 60_000
    running.offer(clicks(1, "first"), arrival=ahead)
    running.offer(clicks(1, "second"), arrival=ahead - 30_000)
    seen = running.pipeline.ask(lambda engine: engine.active_visitors(1, 60_000))
    assert [visitor.last_seen for visitor in seen] == [ahead, ahead]


def test_identify_is_passed_on(running: Running) -> None:
    now = now_ms()
    said = [
        Event(1, "u1", "identify", "/", now, metadata={"id": "ann"}),
        Event(1, "u2", "identify", "/", now, metadata={"id": "x" * 200}),
        Event(1, "u3", "identify", "/", now, metadata={"id": ""}),
        Event(1, "u4", "identify", "/", now, metadata={"name": "x"}),
        Event(1, "u5", "identify", "/", now),
    ]
    running.offer(said)
    told = [news for news in running.outbox.wait(0) if isinstance(news, Identified)]
    assert [(who.user_id, who.identified) for who in told] == [("u1", "ann"), ("u2", "x" * 128)]


def test_deadlines_fire_while_nothing_comes() -> None:
    """Someone left the funnel 29.8 s ago: abandoned 0.2 s from now, with nobody there."""
    engine = Engine()
    arrival = now_ms() - 29_800
    steps = journey("/cart", "/checkout")
    for event in [*steps, Event(1, "u1", "leave", "/checkout", steps[-1].timestamp)]:
        engine.observe(event, arrival)
    made = Running(engine)
    made.start()
    until(lambda: len(made.outbox))
    (change,) = made.outbox.wait(0)
    assert isinstance(change, Change)
    assert (change.pattern.type, change.at) == ("abandonment", arrival + 30_000)
    made.stop()


def test_a_batch_that_is_sent_again_is_answered_and_not_counted_again(running: Running) -> None:
    async def twice() -> None:
        for site, name in ((1, "b1"), (1, "b1"), (1, "b2"), (2, "b1"), (1, ""), (1, "")):
            batch = Batch(site, now_ms(), clicks(1), name)
            assert running.taken(batch)
            await asyncio.wait_for(batch.done(), WAIT_S)

    asyncio.run(twice())
    assert running.total() == 5, "all but the second b1 of site 1"


def test_the_memory_of_batches_is_bounded() -> None:
    seen = Seen(most=3)
    for name in "abcdd":
        assert name == "d" or (1, name) not in seen
        seen.add((1, name))
    seen.add(None)
    assert seen.keys() == [(1, "b"), (1, "c"), (1, "d")], "the oldest is forgotten"
    assert (2, "d") not in seen, "another site's batch is another batch"
    assert Seen(seen.keys(), most=3).keys() == seen.keys()


# --- questions -------------------------------------------------------------------------


def test_any_thread_may_ask(running: Running) -> None:
    running.offer(clicks(7))
    answers: list[int] = []
    askers = [threading.Thread(target=lambda: answers.append(running.total())) for _ in range(20)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(WAIT_S)
    assert answers == [7] * 20


def test_questions_are_answered_in_the_pipelines_thread(running: Running) -> None:
    assert running.pipeline.ask(lambda _: threading.current_thread().name) == "pipeline"


def test_a_question_that_raises_raises_for_the_asker_alone(running: Running) -> None:
    with pytest.raises(ZeroDivisionError):
        running.pipeline.ask(lambda _: 1 // 0)
    assert running.total() == 0


def test_there_is_no_answer_where_the_engine_does_not_run() -> None:
    idle = Running(Engine())
    with pytest.raises(EngineUnavailable, match="does not run"):
        idle.total()
    idle.stop()


def test_there_is_no_answer_after_the_end(running: Running) -> None:
    running.stop()
    with pytest.raises(EngineUnavailable):
        running.total()


def test_a_question_that_comes_with_the_end_does_not_wait_for_its_timeout() -> None:
    """The last turn takes its questions; one that is asked during it would wait in vain."""
    made = Running(Engine())
    within = threading.Event()
    go_on = threading.Event()

    def hold(_: Engine) -> None:
        within.set()
        go_on.wait(WAIT_S)

    made.start()
    holder = threading.Thread(target=lambda: made.pipeline.ask(hold, WAIT_S))
    holder.start()
    within.wait(WAIT_S)
    stopper = threading.Thread(target=made.stop)
    last = threading.Thread(target=lambda: made.pipeline.ask(lambda _: hold_again(), WAIT_S))
    second = threading.Event()
    third = threading.Event()

    def hold_again() -> None:
        second.set()
        third.wait(WAIT_S)

    last.start()
    until(lambda: made.pipeline._queue.asked)
    stopper.start()
    until(lambda: made.pipeline._stopping.is_set())
    go_on.set()
    second.wait(WAIT_S)  # now in its last turn
    began = time.monotonic()
    with pytest.raises(EngineUnavailable):
        made.pipeline.ask(lambda _: None, timeout=2.0)
    assert time.monotonic() - began < 1.0
    third.set()
    for thread in (holder, last, stopper):
        thread.join(WAIT_S)


def test_a_late_answer_is_an_unavailable_engine(running: Running) -> None:
    hold = threading.Event()
    slow = threading.Thread(target=lambda: running.pipeline.ask(lambda _: hold.wait(WAIT_S)))
    slow.start()
    with pytest.raises(EngineUnavailable, match="did not answer within"):
        running.pipeline.ask(lambda _: 1, timeout=0.05)
    hold.set()
    slow.join(WAIT_S)
    assert running.total() == 0, "and afterwards it answers as ever"


# --- an engine in trouble ----------------------------------------------------------------


class Fragile(Engine):
    """A real engine that stumbles over visitors called `trouble`, and at times over time."""

    late = False

    def observe(self, event: Event, now: int) -> list[Change]:
        if event.user_id == "trouble":
            raise RuntimeError("an event nobody thought of")
        return super().observe(event, now)

    def advance(self, now: int) -> list[Change]:
        if self.late:
            raise RuntimeError("a deadline nobody thought of")
        return super().advance(now)


def test_an_event_that_the_engine_cannot_take_harms_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = Running(Fragile())
    made.start()
    with caplog.at_level(logging.ERROR, "detection.pipeline"):
        mixed = [*clicks(1, "u2"), *clicks(1, "trouble"), *journey(*LOOP)]
        assert made.offer(mixed, clicks(1, "trouble"), clicks(1)) == [True, True, True]
    assert made.total() == 7
    assert len(made.outbox) == 1, "and the pattern after it was found"
    assert len(caplog.records) == 2
    made.stop()


def test_a_deadline_that_the_engine_cannot_take_does_not_end_the_thread() -> None:
    engine = Fragile()
    made = Running(engine)
    engine.late = True
    made.start()
    assert made.pipeline.ask(lambda _: True)
    engine.late = False
    assert made.offer(clicks(1)) == [True]
    assert made.total() == 1
    made.stop()


# --- room --------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused() -> None:
    made = Running(Engine(), capacity=10)
    made.start()

    async def fill() -> list[Refusal | None]:
        sizes = (6, 4, 1)
        return [made.pipeline.offer(Batch(1, now_ms(), clicks(size))) for size in sizes]

    with made.held():
        assert asyncio.run(fill()) == [None, None, Refusal.BUSY]
        assert made.pipeline.queued_events == 10
    made.stop()


def test_what_weighs_too_much_is_refused() -> None:
    made = Running(Engine())
    made.start()

    async def fill() -> list[Refusal | None]:
        weights = (MOST_BYTES - 1, 1, 1)
        return [
            made.pipeline.offer(Batch(1, now_ms(), clicks(1), size=weight)) for weight in weights
        ]

    with made.held():
        assert asyncio.run(fill()) == [None, None, Refusal.BUSY]
        assert made.pipeline.queued_bytes == MOST_BYTES
    until(lambda: made.pipeline.queued_bytes == 0)
    made.stop()


def test_one_batch_larger_than_the_queue_is_taken_while_nothing_waits() -> None:
    made = Running(Engine(), capacity=10)
    made.start()

    async def fill() -> list[bool]:
        return [made.taken(Batch(1, now_ms(), clicks(size))) for size in (11, 1)]

    with made.held():
        assert asyncio.run(fill()) == [True, False]
    made.stop()


def test_how_long_the_oldest_has_waited_is_known() -> None:
    made = Running(Engine())
    made.start()
    assert made.pipeline.lag_ms == 0

    async def fill() -> None:
        assert made.taken(Batch(1, now_ms(), clicks(1)))

    with made.held():
        asyncio.run(fill())
        until(lambda: made.pipeline.lag_ms >= 20)
    until(lambda: made.pipeline.lag_ms == 0)
    made.stop()


def test_a_full_outbox_holds_events_back_and_loses_none() -> None:
    made = Running(Engine(), outbox=2)
    made.outbox.put([opened("p1"), opened("p2")])
    made.start()
    assert made.outbox.full

    async def offered() -> None:
        batch = Batch(1, now_ms(), journey(*LOOP))
        assert made.taken(batch)
        answered = asyncio.ensure_future(batch.done())
        # Questions are answered meanwhile, several turns long, and no event is taken.
        for _ in range(3):
            assert await asyncio.to_thread(made.total) == 0
        assert not answered.done()
        made.outbox.forget(2)
        await asyncio.wait_for(answered, WAIT_S)

    asyncio.run(offered())
    assert made.total() == 5
    assert len(made.outbox) == 1
    made.stop()


def test_time_stands_still_while_events_wait() -> None:
    """Deadlines must not overtake events that arrived before them and wait for room."""
    made = Running(Engine(), outbox=1)
    made.outbox.put([opened()])
    made.start()
    arrival = now_ms() - 5_000

    async def offered() -> None:
        batch = Batch(1, arrival, clicks(1))
        assert made.taken(batch)
        early = await asyncio.to_thread(made.pipeline.ask, lambda engine: engine.now)
        again = await asyncio.to_thread(made.pipeline.ask, lambda engine: engine.now)
        assert early == again
        made.outbox.forget(1)
        await asyncio.wait_for(batch.done(), WAIT_S)

    asyncio.run(offered())
    made.stop()


# --- the end -----------------------------------------------------------------------------


def test_stopping_finishes_what_was_accepted() -> None:
    engine = Engine()
    made = Running(engine, capacity=100_000)
    made.start()

    async def fill() -> None:
        for n in range(50):
            assert made.taken(Batch(1, now_ms(), journey(*LOOP, user_id=f"u{n}")))

    with made.held():
        asyncio.run(fill())
        made.pipeline.drain(timeout=0)
    made.stop()
    assert engine.stats(1).total_events == 250
    assert len(made.outbox) == 50


def test_stopping_finishes_even_where_the_outbox_is_full() -> None:
    engine = Engine()
    made = Running(engine, outbox=1)
    made.outbox.put([opened()])
    made.start()

    async def fill() -> None:
        assert made.taken(Batch(1, now_ms(), journey(*LOOP)))

    asyncio.run(fill())
    made.stop()
    assert engine.stats(1).total_events == 5
    assert len(made.outbox) == 2


def test_nothing_is_taken_after_the_end(running: Running) -> None:
    running.stop()
    assert running.offer(clicks(1)) == [False]


def test_an_answer_to_a_loop_that_is_closed_is_nobodys_trouble(running: Running) -> None:
    async def leave_at_once() -> None:
        assert running.taken(Batch(1, now_ms(), clicks(1)))

    asyncio.run(leave_at_once())
    until(lambda: running.total() == 1)


# --- the outbox --------------------------------------------------------------------------


def test_the_outbox_keeps_until_told_to_forget() -> None:
    outbox = Outbox()
    outbox.put([opened("p1"), opened("p2")])
    assert len(outbox.wait(0)) == len(outbox.wait(0)) == 2
    outbox.forget(1)
    (left,) = outbox.wait(0)
    assert isinstance(left, Change)
    assert left.pattern.pattern_id == "p2"


def test_a_nudge_wakes_who_waits() -> None:
    outbox = Outbox()
    woken = threading.Thread(target=lambda: outbox.wait(WAIT_S))
    woken.start()
    outbox.nudge()
    woken.join(WAIT_S / 2)
    assert not woken.is_alive()
