"""What a stream has missed: all of it, or word that some is gone; read once for all who ask."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from detection import missed, store
from detection.feeds import RUN, Feed
from detection.missed import KEPT_S, SLICE, Gone, Missed
from detection.models import PatternChange, Site
from tests.making import opened


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Rendered:
    """Counts the changes that were rendered."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, changes: Sequence[PatternChange]) -> str:
        self.count += len(changes)
        return ",".join(str(change.sequence) for change in changes)


@pytest.fixture
def rendered() -> Rendered:
    return Rendered()


@pytest.fixture
def single(rendered: Rendered) -> Feed:
    return Feed("single", "one", rendered)


@pytest.fixture
def runs(rendered: Rendered) -> Feed:
    return Feed("runs", "several", rendered, coalesce=True)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def past(clock: Clock) -> Missed:
    return Missed(clock)


def write(first: int, last: int) -> None:
    store.apply(opened(f"p{number}") for number in range(first, last + 1))


def erase(*gone: int) -> None:
    PatternChange.objects.filter(sequence__in=gone).delete()


def told(past: Missed, feed: Feed, after: int, limit: int = 10_000) -> list[int]:
    return [event.id for event in past.events(feed, 1, after, limit)]


def test_every_change_after_the_last_in_order(site: Site, past: Missed, single: Feed) -> None:
    count = 2 * SLICE + 7
    write(1, count)
    for after in (0, 1, SLICE - 1, SLICE, SLICE + 1, count - 1, count):
        assert told(past, single, after) == list(range(after + 1, count + 1))


def test_a_limit_is_reached_where_there_is_more(site: Site, past: Missed, single: Feed) -> None:
    """Fewer than asked for means that this is all."""
    write(1, SLICE + 100)
    for after in (0, SLICE - 10, SLICE + 10):
        assert told(past, single, after, 51)[:51] == list(range(after + 1, after + 52))


def test_runs_follow_one_another(site: Site, past: Missed, runs: Feed) -> None:
    count = SLICE + 2 * RUN + 3
    write(1, count)
    for after in (0, 5, SLICE, count - 2, count):
        data = [event.data for event in past.events(runs, 1, after, 10_000)]
        said = [int(word) for one in data for word in one.split(",")]
        assert said == list(range(after + 1, count + 1))
        assert all(len(one.split(",")) <= RUN for one in data)


@pytest.mark.parametrize("kind", ["single", "runs"])
@pytest.mark.parametrize(
    ("erased", "after"),
    [
        ([1], 0),
        ([1, 2, 3], 2),
        ([5], 0),
        ([5], 4),
        ([19, 20], 10),
        ([20], 19),
        (range(1, 21), 10),
    ],
    ids=str,
)
def test_what_is_not_whole_is_never_told(
    site: Site,
    past: Missed,
    kind: str,
    erased: Sequence[int],
    after: int,
    request: pytest.FixtureRequest,
) -> None:
    write(1, 20)
    erase(*erased)
    with pytest.raises(Gone) as gone:
        told(past, request.getfixturevalue(kind), after)
    assert gone.value.current == 20


@pytest.mark.parametrize("kind", ["single", "runs"])
def test_what_was_erased_before_is_not_missed(
    site: Site, past: Missed, kind: str, request: pytest.FixtureRequest
) -> None:
    write(1, 20)
    erase(*range(1, 11), 5)
    feed = request.getfixturevalue(kind)
    assert told(past, feed, 10)[-1] == 20
    with pytest.raises(Gone):
        told(past, feed, 9)
    assert told(past, feed, 20) == []


def test_a_hole_in_a_later_slice_is_met_there(site: Site, past: Missed, single: Feed) -> None:
    write(1, SLICE + 50)
    erase(SLICE + 20)
    assert told(past, single, 0, 51)[0] == 1
    with pytest.raises(Gone):
        told(past, single, SLICE - 10, 51)


def test_a_place_beyond_the_newest_is_not_known(site: Site, past: Missed, single: Feed) -> None:
    write(1, 3)
    assert told(past, single, 3) == []
    with pytest.raises(Gone) as gone:
        told(past, single, 4)
    assert gone.value.current == 3


def test_one_who_is_too_far_behind_starts_over(
    site: Site, past: Missed, single: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed, "MOST_REPLAYED", 10)
    write(1, 11)
    with pytest.raises(Gone):
        told(past, single, 0)
    assert told(past, single, 1) == list(range(2, 12))


# --- shared ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["single", "runs"])
def test_many_who_ask_at_once_cost_one_reading(
    site: Site, past: Missed, rendered: Rendered, kind: str, request: pytest.FixtureRequest
) -> None:
    feed = request.getfixturevalue(kind)
    write(1, 600)
    together = threading.Barrier(20)

    def ask(_: int) -> int:
        together.wait()
        try:
            return told(past, feed, 0)[-1]
        finally:
            assert connection.connection is None, "it keeps a connection"

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(ask, range(20))) == [600] * 20
    assert rendered.count == 600


def test_what_was_sent_since_is_read_anew(site: Site, past: Missed, single: Feed) -> None:
    write(1, 5)
    past.sent(1, 5)
    assert told(past, single, 0) == [1, 2, 3, 4, 5]
    write(6, 7)
    past.sent(1, 7)
    assert told(past, single, 3) == [4, 5, 6, 7]


def test_what_was_erased_is_not_told_for_long(
    site: Site, past: Missed, single: Feed, clock: Clock
) -> None:
    write(1, 5)
    assert told(past, single, 0) == [1, 2, 3, 4, 5]
    erase(3)
    clock.now += KEPT_S
    with pytest.raises(Gone):
        told(past, single, 0)


def test_what_is_kept_is_bounded(site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missed, "KEPT_BYTES", 5_000)
    past = Missed(clock)
    feed = Feed("runs", "several", lambda changes: "x" * 100, coalesce=True)
    write(1, 200)
    for after in range(200):
        told(past, feed, after)
        kept = [len(event.data) for part in past._kept.values() for event in part.events]
        assert sum(kept) == past._size <= 5_000
    clock.now += KEPT_S
    told(past, feed, 0)
    assert len(past._kept) == 1, "what is old goes"
