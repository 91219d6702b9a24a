"""The estimates of what things hold, against what the machine says."""

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator

import msgspec
import pytest

from detection.engine.config import EngineConfig
from detection.engine.engine import Engine
from detection.engine.events import Event
from detection.engine.sizes import event_bytes, text_bytes

from .helpers import BASE
from .saves import pieces_of

FREE = EngineConfig(max_bytes=10**12, max_visitors=10**9)
STEPS = ["/cart", "/checkout", "/payment"]

Made = Callable[[], Iterator[Event]]


def own(text: str) -> str:
    """A text that nobody else holds."""
    return (text + "!")[:-1]


def plain(visitors: int, events: int) -> Made:
    return lambda: (
        Event(1, f"visitor-{index % visitors:06d}", "scroll", own("/products/12"), BASE + index)
        for index in range(visitors * events)
    )


def walking(visitors: int, pages: int) -> Made:
    return lambda: (
        Event(
            1,
            f"visitor-{index % visitors:06d}",
            "navigate",
            f"/products/{index // visitors}",
            BASE + index,
            f"view-{index:011d}",
        )
        for index in range(visitors * pages)
    )


def described(keys: int) -> Made:
    return lambda: (
        Event(
            1,
            f"visitor-{index % 50:06d}",
            "click",
            own("/products/12"),
            BASE + index,
            metadata={f"key {key}": f"value {index}" for key in range(keys)},
        )
        for index in range(5_000)
    )


def fattest(letter: str) -> Made:
    return lambda: (
        Event(
            1,
            letter * 120 + f"{index % 10:08d}",
            "click",
            "/" + letter * 2047,
            BASE + index,
            letter * 60 + f"{index:04d}",
            {f"{key:02d}" + letter * 62: f"{index:012d}" + letter * 500 for key in range(16)},
        )
        for index in range(100)
    )


def measured(events: Made, config: EngineConfig) -> tuple[int, Engine]:
    """How much memory the engine takes with these events, each encoded once as for a journal."""
    gc.collect()
    tracemalloc.start()
    try:
        engine = Engine(config)
        for number, event in enumerate(events()):
            msgspec.msgpack.encode(event)
            engine.observe(event, BASE + number)
        del event
        gc.collect()
        return tracemalloc.get_traced_memory()[0], engine
    finally:
        tracemalloc.stop()


WINDOWS = {
    "full windows": plain(50, 200),
    "short windows": plain(500, 10),
    "one event": plain(3_000, 1),
    "one page": walking(3_000, 1),
    "many pages": walking(50, 100),
    "one key": described(1),
    "six keys": described(6),
    "sixteen keys": described(16),
    "fattest, ASCII": fattest("e"),
    "fattest, three bytes": fattest("漢"),
    "fattest, four bytes": fattest("\N{GRINNING FACE}"),
}


@pytest.mark.parametrize("events", WINDOWS.values(), ids=WINDOWS)
def test_windows_hold_what_they_are_said_to_hold(events):
    taken, engine = measured(events, FREE)
    assert 0.9 * taken <= engine.gauges().bytes <= 1.25 * taken


def leaving(visitors: int, rounds: int) -> Made:
    return lambda: (
        Event(1, own(f"visitor-{visitor:06d}"), "navigate", own(page), BASE)
        for _ in range(rounds)
        for visitor in range(visitors)
        for page in (*STEPS, "/elsewhere")
    )


@pytest.mark.parametrize(("visitors", "rounds"), [(1_000, 1), (50, 16), (50, 20)])
def test_attempts_hold_what_they_are_said_to_hold(visitors, rounds):
    """Windows are as short as can be, so that hardly anything but attempts is held."""
    config = EngineConfig(max_bytes=10**12, window_ms=1, cooldown_ms=1)
    taken, engine = measured(leaving(visitors, rounds), config)
    gauges = engine.gauges()
    assert gauges.visitors == 1
    assert gauges.attempts == visitors
    assert 0.9 * taken <= gauges.bytes + gauges.attempt_bytes <= 1.3 * taken


def test_an_estimate_depends_on_values_alone():
    """Not on what encoding leaves behind in a text, nor on what is shared."""
    page = "/" + "\N{GRINNING FACE}" * 100
    event = Event(1, "v", "click", page, BASE, page[:64], {"key": page})
    before, held = event_bytes(event), sys.getsizeof(page)
    msgspec.msgpack.encode(event)
    assert sys.getsizeof(page) > held
    assert event_bytes(event) == before
    assert event_bytes(msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event)) == before


def test_a_restored_engine_holds_no_more():
    """Nor is it said to."""
    taken, engine = measured(walking(20, 100), FREE)
    pieces = pieces_of(engine)
    tracemalloc.start()
    try:
        restored = Engine.restored(pieces)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] <= 1.05 * taken
    finally:
        tracemalloc.stop()
    assert restored.gauges() == engine.gauges()


@pytest.mark.parametrize("text", ["", "a", "é", "漢", "\N{GRINNING FACE}", "a" * 512])
def test_longer_text_holds_more(text):
    assert text_bytes(text) < text_bytes(text + "b")
    assert text_bytes(text) >= sys.getsizeof(text)
