"""Bursts of changes over real sockets: every change exactly once and in order, however it is heard.

The changes are written by another process, a thousand and more at a time, so that the publisher
finds them all at once and every queue of a stream overflows.
"""

import contextlib
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from detection.missed import MOST_REPLAYED
from tests.server import Server
from tests.sse import EventSource
from tests.streaming import API, DASHBOARD, listen, make_patterns, newest, sequences, write

_ROW = re.compile(r'data-pattern-id="(\w+)"[^>]*data-severity="(\w+)"')


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), migrated) as running:
        yield running


def burst(server: Server, patterns: int, worse: int = 0, fat: int = 0) -> list[int]:
    """The sequences of the changes that another process has stored."""
    before = newest(server)
    write(server.target, patterns, worse, fat)
    return list(range(before + 1, before + patterns + worse + 1))


def nothing_but(server: Server, expected: list[int], *streams: EventSource) -> None:
    """They hear these changes and one more, without which a double could yet come late."""
    make_patterns(server, 1)
    for stream in streams:
        stream.wait_until(expected[-1] + 1)
        assert sequences(stream.named("pattern")) == [*expected, expected[-1] + 1]
        assert stream.named("stream-reset") == []
        kept = [message.sequence for message in stream.messages if message.id]
        assert kept == sorted(kept), "an id went back"


@pytest.mark.parametrize("count", [1000, 5000])
def test_a_burst_is_heard_by_all_who_are_connected(server: Server, count: int) -> None:
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(listen(server)) for _ in range(3)]
        nothing_but(server, burst(server, count), *streams)


def test_bursts_one_upon_the_other(server: Server) -> None:
    with listen(server) as stream:
        expected = [sequence for _ in range(5) for sequence in burst(server, 300, worse=100)]
        nothing_but(server, expected, stream)


def test_a_client_that_reads_late_hears_all_of_it(server: Server) -> None:
    """It stops reading until the server has to wait for it and its queue has overflowed."""
    with EventSource(server.url + API, room=32_768).opened() as stream:
        stream.pause()
        expected = burst(server, 3000, fat=4000)
        with listen(server, f"changes-1:{expected[-2]}") as other:
            other.wait_for(bool)
            expected += burst(server, 50)
            other.wait_for(lambda heard: len(heard) == 51)  # by then it has been sent
        assert len(stream.named("pattern")) < 100
        stream.resume()
        nothing_but(server, expected, stream)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_reconnecting_again_and_again_during_a_burst_misses_nothing(
    server: Server, seed: int
) -> None:
    chance = random.Random(seed)
    make_patterns(server, 1)
    began = newest(server)
    heard: list[int] = []
    expected: list[int] = []
    for _ in range(6):
        expected += burst(server, chance.randint(50, 700), worse=chance.randint(0, 50))
        for _ in range(3):
            position = heard[-1] if heard else began
            until = min(position + chance.randint(1, 200), expected[-1])
            with listen(server, f"changes-1:{position}") as stream:
                if until > position:
                    stream.wait_until(until)
            heard += sequences(stream.named("pattern"))
            assert stream.named("stream-reset") == []
    assert heard == expected[: len(heard)]
    assert len(heard) > 500
    with listen(server, f"changes-1:{heard[-1]}") as stream:
        expected = [*expected, *burst(server, 10)]
        nothing_but(server, expected[len(heard) :], stream)


def test_a_client_far_behind_is_replayed_what_it_missed(server: Server) -> None:
    began = newest(server)
    expected = [sequence for _ in range(3) for sequence in burst(server, 3000)]
    with listen(server, f"changes-1:{began}") as stream:
        nothing_but(server, expected, stream)


def test_a_client_further_behind_is_told_to_start_over(server: Server) -> None:
    began = newest(server)
    while newest(server) <= began + MOST_REPLAYED:
        burst(server, 5000)
    with listen(server, f"changes-1:{began}") as stream:
        (reset,) = stream.wait_for(bool, "stream-reset")
        assert reset.sequence == newest(server)
        make_patterns(server, 1)
        assert sequences(stream.wait_for(bool)) == [reset.sequence + 1]


@pytest.mark.parametrize("count", [1000, 5000])
def test_a_dashboard_hears_the_newest_state_of_every_pattern(server: Server, count: int) -> None:
    """Though it reconnects all the while, and hears only what stands at the end of each run."""
    url = server.url + DASHBOARD
    states: dict[str, str] = {}
    kept = [newest(server)]
    with EventSource(url).opened() as stream:
        expected = burst(server, count, worse=count // 10)
        stream.wait_for(bool, "rows")
    while True:
        for message in stream.messages:
            assert message.event != "stream-reset"
            if message.event == "rows":
                states.update(_ROW.findall(message.data))
            if message.id:
                kept.append(message.sequence)
        if kept[-1] >= expected[-1]:
            break
        with EventSource(url, f"rows-1:{kept[-1]}").opened() as stream:
            stream.wait_until(min(kept[-1] + count // 6, expected[-1]), "rows")
    assert kept == sorted(kept), "an id went back"
    assert len(states) == count
    assert sorted(states.values()) == ["high"] * (count // 10) + ["low"] * (count * 9 // 10)


def test_a_dashboard_hears_a_burst_in_few_events(server: Server) -> None:
    with EventSource(server.url + DASHBOARD).opened() as stream:
        expected = burst(server, 1000)
        rows = stream.wait_until(expected[-1], "rows")
    assert len(rows) < 250
    assert len({one for message in rows for one, _ in _ROW.findall(message.data)}) == 1000
