"""Snapshots: in slices, whole or refused, and of one version."""

import hashlib
import random

import msgspec
import pytest

from detection.engine.config import EngineConfig
from detection.engine.engine import Engine
from detection.engine.events import Event
from detection.engine.patterns import Severity
from detection.engine.rules.journey import Journey, Loss
from detection.engine.rules.visits import PageVisits, Visit, Visits
from detection.engine.saving import VERSION, SnapshotUnusable
from detection.engine.saving.frames import framed
from detection.engine.saving.records import SAVED
from detection.engine.snapshots import Tally
from detection.engine.standing import Finding, Standing
from detection.engine.visitor import Visitor
from detection.engine.window import Window

from .helpers import BASE, at, idle, play, told, visits
from .saves import attempts, pieces_of, saved, visitors

# Of VERSION. Where the test below fails, what is saved or what saving must know of has changed:
# see that it is saved and restored, raise VERSION, and write the new fingerprint here.
FINGERPRINT = (1, "c504230e78bcba79")


def shape() -> str:
    """Every field that is saved, with its type, and every slot of what is."""
    lines = [
        f"{kind.__name__}.{field.name}: {field.type}"
        for kind in (*SAVED, Event, Standing, Finding, Loss, Visit, PageVisits)
        for field in msgspec.structs.fields(kind)
    ]
    lines += [
        f"{kind.__name__}.{slot}"
        for kind in (Visitor, Journey, Window, Visits, Tally)
        for slot in kind.__slots__
    ]
    lines += [f"{severity.name}={severity.value}" for severity in Severity]
    return "\n".join(lines)


def test_a_change_of_the_saved_form_raises_its_version():
    digest = hashlib.sha256(shape().encode()).hexdigest()[:16]
    assert (VERSION, digest) == FINGERPRINT


def busy() -> Engine:
    """Three visitors of two sites: loops, hesitations, losses, an open attempt, deadlines."""
    engine = Engine()
    play(visits("A B A B A B A"), engine=engine)
    play([idle(20_000, 12_000, "/A"), at(20_001, "identify", "/A", id="Ada")], engine=engine)
    for start in (21_000, 22_000):
        play([at(start, "navigate", "/cart", user="w", site=2)], engine=engine)
        play([at(start, "navigate", "/payment", user="w", site=2, key="é" * 300)], engine=engine)
        play([at(start, "navigate", "/x", user="w", site=2)], engine=engine)
    play([at(23_000, "navigate", "/cart", user="x", view="1")], engine=engine)
    play([at(23_001, "click", "/checkout", user="x", view="2")], engine=engine)
    play([at(23_002, "tab_hidden", "/checkout", user="x")], engine=engine)
    play([at(23_003, "leave", "/checkout", user="x", ts=0)], engine=engine)
    return engine


@pytest.fixture
def engine():
    return busy()


def same(one: Engine, other: Engine) -> bool:
    return (
        visitors(one) == visitors(other)
        and attempts(one) == attempts(other)
        and one.gauges() == other.gauges()
        and [one.stats(site) for site in (1, 2)] == [other.stats(site) for site in (1, 2)]
        and (one.now, one.config) == (other.now, other.config)
    )


def test_an_empty_engine():
    engine = Engine(EngineConfig(max_events=3))
    pieces = pieces_of(engine)
    assert len(pieces) == 1
    assert same(Engine.restored(pieces), engine)


def test_everything_is_restored(engine):
    assert engine.gauges().visitors == 3
    assert engine.gauges().attempts == 2
    assert engine.stats(1).late == 1
    assert engine.stats(2).abandoned == 2
    assert same(saved(engine), engine)


@pytest.mark.parametrize("size", [1, 2, 3, 1_000])
def test_pieces_of_any_size(engine, size):
    pieces = pieces_of(engine, size)
    assert len(pieces) == 1 + -(-5 // size)
    assert same(Engine.restored(pieces), engine)
    assert same(Engine.restored([pieces[0], *reversed(pieces[1:])]), engine)


def test_what_is_one_object_stays_one(engine):
    """The open loop's pattern and a loss's pattern are found in two places each."""
    restored = saved(engine)
    visitor = restored._visitors.held[1, "v"]
    assert visitor.visits.open_loop is visitor.standing("navigation-loop", "/A /B")
    journey = restored._journeys.held[2, "w", 0]
    first, second = journey.losses
    assert first.standing is second.standing is journey.standings["checkout:/payment"]


def test_a_saved_loop_goes_on(engine):
    more = visits("B A", start=24_000)
    assert told(play(more, engine=saved(engine))) == ["25000 escalated high /A /B"]


def test_a_saved_loss_is_recovered_once(engine):
    done = [at(30_000, "purchase", "/x", user="w", site=2)]
    restored = saved(engine)
    assert told(play(done, engine=restored)) == ["30000 recovered high checkout:/payment"]
    assert restored.stats(2).abandoned == 0
    assert told(play(done, engine=saved(restored))) == []


def test_a_saved_deadline_passes_at_its_time(engine):
    changes = saved(engine).advance(BASE + 10_000_000)
    assert told(changes) == ["53003 opened high checkout:/checkout"]


def test_the_engine_goes_on_while_it_is_captured(engine):
    """Nothing that is heard, woken, evicted or configured after the capture began is in it."""
    capture, was = engine.capture(), busy()
    pieces = [capture.take(1), capture.take(1)]
    play([at(24_000, "navigate", "/cart", user=user) for user in "vwxyz"], engine=engine)
    pieces.append(capture.take(1))
    play([], engine=engine, until=60_000)
    engine.configure(EngineConfig(max_events=2, max_visitors=1))
    while not capture.done:
        pieces.append(capture.take(1))
    assert same(Engine.restored(pieces), was)
    assert not same(engine, was)


def test_evicted_while_captured(engine):
    capture, was = engine.capture(), busy()
    play([], engine=engine, until=10_000_000)
    assert engine.gauges().visitors == engine.gauges().attempts == 0
    pieces = []
    while not capture.done:
        pieces.append(capture.take(2))
    assert same(Engine.restored(pieces), was)


def test_a_second_capture_replaces_the_first(engine):
    first = engine.capture()
    first.take(1)
    second = engine.capture()
    with pytest.raises(RuntimeError, match="ended"):
        first.take(1)
    pieces = []
    while not second.done:
        pieces.append(second.take(2))
    assert same(Engine.restored(pieces), engine)


def test_a_dropped_capture_is_over(engine):
    capture = engine.capture()
    engine.drop_capture()
    with pytest.raises(RuntimeError, match="ended"):
        capture.take(1)
    play([at(24_000, "click")], engine=engine)


def test_a_whole_capture_lets_go(engine):
    """Once it is done nothing costs anything, and there is no further piece."""
    capture = engine.capture()
    while not capture.done:
        capture.take(2)
    assert engine._capture is None
    assert engine._journeys.keeper is None
    with pytest.raises(RuntimeError, match="ended"):
        capture.take(1)


def test_missing_and_foreign_pieces_are_refused(engine):
    pieces = pieces_of(engine, 1)
    others = pieces_of(Engine(), 1)
    for index in range(len(pieces)):
        with pytest.raises(SnapshotUnusable):
            Engine.restored(pieces[:index] + pieces[index + 1 :])
    for wrong in ([], [*pieces, pieces[0]], [*others, *pieces[1:]], [*pieces[1:], pieces[0]]):
        with pytest.raises(SnapshotUnusable):
            Engine.restored(wrong)


def test_another_version_is_refused(engine):
    pieces = pieces_of(engine)
    later = bytearray(pieces[0])
    later[6] += 1
    with pytest.raises(SnapshotUnusable, match=f"version {VERSION + 1}"):
        Engine.restored([bytes(later), *pieces[1:]])


def test_damage_is_recognised(engine):
    """Every cut, and some flips of every byte."""
    pieces = pieces_of(engine, 2)
    draw = random.Random(3)
    for index, piece in enumerate(pieces):
        damaged = [piece[:length] for length in range(0, len(piece), 7)]
        for place in range(len(piece)):
            flipped = bytearray(piece)
            flipped[place] ^= 1 << draw.randrange(8)
            damaged.append(bytes(flipped))
        for bad in damaged:
            with pytest.raises(SnapshotUnusable):
                Engine.restored([*pieces[:index], bad, *pieces[index + 1 :]])


def test_nonsense_in_a_whole_frame_is_refused(engine):
    """As if the checksum were right: whatever is inside, nothing but SnapshotUnusable is raised,
    or an engine comes out.
    """
    pieces = pieces_of(engine, 2)
    bodies = [piece[11:] for piece in pieces]
    draw = random.Random(4)
    refused = 0
    for _ in range(3_000):
        index = draw.randrange(1, len(bodies))
        body = bytearray(bodies[index])
        for _ in range(draw.randint(1, 3)):
            body[draw.randrange(len(body))] = draw.randrange(256)
        try:
            Engine.restored([*pieces[:index], framed(bytes(body)), *pieces[index + 1 :]])
        except SnapshotUnusable:
            refused += 1
    assert refused > 1_000


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc0", b"\x90", b"\x91\xa6header", b"\x94\xa4part\x00\x90\x90", b"\x91" * 10_000],
)
def test_no_piece_at_all_in_a_whole_frame(engine, body):
    with pytest.raises(SnapshotUnusable):
        Engine.restored([framed(body)])
    with pytest.raises(SnapshotUnusable):
        Engine.restored([*pieces_of(engine), framed(body)])
