"""How many are let in: found by how late the loop is, and bounded by what waits."""

import asyncio
import time
from collections.abc import Callable

import pytest

from detection.admission import FEWEST, FIRST, LATE_S, MOST, MOST_LAG_MS, QUIET_S, Admission


class Waiting:
    """A pipeline, as far as the door looks at it."""

    capacity = 100

    def __init__(self, queued_events: int = 0, lag_ms: int = 0) -> None:
        self.queued_events = queued_events
        self.lag_ms = lag_ms


def within_a_loop(test: Callable[[], None]) -> None:
    async def run() -> None:
        test()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("waiting", "let_in"),
    [
        (Waiting(), True),
        (Waiting(queued_events=99), True),
        (Waiting(queued_events=100), False),
        (Waiting(queued_events=1_000), False),
        (Waiting(lag_ms=MOST_LAG_MS), True),
        (Waiting(lag_ms=MOST_LAG_MS + 1), False),
    ],
    ids=lambda value: str(vars(value)) if isinstance(value, Waiting) else "",
)
def test_what_waits_decides(waiting: Waiting, let_in: bool) -> None:
    admission = Admission(waiting)
    entered: list[bool] = []
    within_a_loop(lambda: entered.append(admission.enter()))
    assert entered == [let_in]
    assert admission.inside == int(let_in)


def test_so_many_may_be_inside_and_one_more_when_one_leaves() -> None:
    admission = Admission(Waiting())

    def crowd() -> None:
        assert all(admission.enter() for _ in range(FIRST))
        assert not admission.enter()
        admission.leave()
        assert admission.enter()
        assert not admission.enter()

    within_a_loop(crowd)
    assert admission.inside == FIRST


def test_a_late_loop_lets_in_fewer_and_fewer_but_never_none() -> None:
    admission = Admission(Waiting())
    limits = []
    for _ in range(20):
        admission.beat(LATE_S + 0.001)
        limits.append(admission.limit)
    assert limits[:3] == [96, 72, 54]
    assert limits[-1] == FEWEST


def test_a_loop_in_time_lets_in_more_where_more_came() -> None:
    admission = Admission(Waiting())
    admission.beat(LATE_S + 0.001)
    limit = admission.limit

    def crowd() -> None:
        for _ in range(limit + 1):
            admission.enter()

    admission.beat(LATE_S)
    assert admission.limit == limit, "nobody was sent away"
    within_a_loop(crowd)
    admission.beat(LATE_S)
    assert admission.limit == limit + 1
    admission.beat(LATE_S)
    assert admission.limit == limit + 1, "nobody has been since"
    within_a_loop(crowd)
    admission.beat(LATE_S + 0.001)
    assert admission.limit < limit, "late is late, whoever was sent away"


def test_there_is_an_end_to_more() -> None:
    admission = Admission(Waiting())

    async def press() -> None:
        for _ in range(2 * MOST):
            while admission.enter():
                pass
            admission.beat(0.0)

    asyncio.run(press())
    assert admission.limit == MOST


def test_the_beat_is_the_loops_own_and_ends_when_it_is_quiet() -> None:
    """A loop that is held up for a tenth of a second lets in fewer."""
    admission = Admission(Waiting())

    async def hold_up() -> None:
        assert admission.enter()
        admission.leave()
        time.sleep(0.1)
        deadline = time.monotonic() + 10
        while admission.limit == FIRST:
            assert time.monotonic() < deadline, "the lateness was never noticed"
            await asyncio.sleep(0.005)
        while admission.beating:
            assert time.monotonic() < deadline + QUIET_S, "it beats for ever"
            await asyncio.sleep(0.05)
        assert admission.enter()
        assert admission.beating, "and begins again"

    asyncio.run(hold_up())
    assert admission.limit < FIRST
