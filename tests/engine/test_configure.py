"""Other numbers while the engine runs: they count from then on, and lose nothing."""

import pytest

from detection.engine.config import EngineConfig
from detection.engine.engine import Engine
from detection.engine.events import Event
from detection.engine.rules.abandonment import AbandonmentSettings
from detection.engine.rules.funnel import Funnel
from detection.engine.rules.hesitation import HesitationSettings
from detection.engine.rules.navigation_loop import LoopSettings

from .helpers import BASE, at, idle, play, told, visits

END = 14_400_000
HERE = at(0, "navigate", "/a")
ENTERED = [at(0, "navigate", "/cart"), at(1_000, "navigate", "/checkout")]
LEFT = [*ENTERED, at(2_000, "leave", "/checkout")]
GONE = [*ENTERED, at(2_000, "navigate", "/x")]
HIDDEN = [*ENTERED, at(2_000, "tab_hidden", "/checkout")]
AT_CHECKOUT = "opened high checkout:/checkout"
BACK = "recovered high checkout:/checkout"


def funnels(*made, **more):
    return EngineConfig(abandonment=AbandonmentSettings(made), **more)


def funnel(**numbers):
    return funnels(Funnel(**numbers))


# What is heard before, the configuration from 10 s on, what is heard then, and what is told in all.
TABLE = [
    (
        "a lower threshold for what comes",
        [HERE, idle(5_000, 5_000)],
        EngineConfig(hesitation=HesitationSettings(low_ms=4_000)),
        [idle(12_000, 5_000)],
        ["12000 opened low /a"],
    ),
    (
        "a pattern is still in its cooldown",
        [HERE, idle(9_000, 10_000)],
        EngineConfig(max_events=100),
        [idle(60_000, 12_000)],
        ["9000 opened low /a"],
    ),
    (
        "a shorter cooldown",
        [HERE, idle(9_000, 10_000)],
        EngineConfig(cooldown_ms=30_000),
        [idle(60_000, 12_000)],
        ["9000 opened low /a", "60000 opened low /a"],
    ),
    (
        "a pattern escalates by the new numbers",
        [HERE, idle(9_000, 10_000)],
        EngineConfig(hesitation=HesitationSettings(medium_ms=11_000)),
        [idle(11_000, 12_000)],
        ["9000 opened low /a", "11000 escalated medium /a"],
    ),
    (
        "a shorter window forgets visits",
        visits("A B A B"),
        EngineConfig(window_ms=9_000, cooldown_ms=9_000),
        visits("A", start=11_500),
        [],
    ),
    (
        "fewer events forget visits",
        visits("A B A B"),
        EngineConfig(max_events=3),
        visits("A", start=11_500),
        [],
    ),
    (
        "fewer visits make a page busy",
        visits("A B A B"),
        EngineConfig(loop=LoopSettings(min_visits=2, low_returns=1)),
        [at(11_000, "navigate", "/C")],
        ["11000 opened low /A /B"],
    ),
    (
        "more visits make a page busy, and the loop ceases",
        visits("A B A B A"),
        EngineConfig(loop=LoopSettings(min_visits=5)),
        visits("B A B A B", start=11_000),
        ["4000 opened low /A /B", "14000 escalated high /A /B"],
    ),
    (
        "an open loop goes on",
        visits("A B A B A"),
        EngineConfig(loop=LoopSettings(medium_returns=3)),
        visits("B", start=150_000),
        ["4000 opened low /A /B", "150000 escalated medium /A /B"],
    ),
    (
        "a shorter grace comes nearer",
        LEFT,
        funnel(leave_grace_ms=20_000),
        [],
        [f"22000 {AT_CHECKOUT}"],
    ),
    (
        "what should have passed by now passes now",
        LEFT,
        funnel(leave_grace_ms=1_000),
        [],
        [f"10000 {AT_CHECKOUT}"],
    ),
    (
        "a longer grace moves away",
        LEFT,
        funnel(leave_grace_ms=60_000),
        [],
        [f"62000 {AT_CHECKOUT}"],
    ),
    (
        "a longer grace gives time to come back",
        LEFT,
        funnel(leave_grace_ms=60_000),
        [at(61_999, "click", "/checkout")],
        [],
    ),
    (
        "a shorter silence",
        HIDDEN,
        funnel(hidden_silence_ms=30_000),
        [],
        [f"32000 {AT_CHECKOUT}"],
    ),
    (
        "a shorter timeout closes silently",
        ENTERED,
        funnel(attempt_timeout_ms=20_000, hidden_silence_ms=10_000, leave_grace_ms=10_000),
        [at(21_000, "navigate", "/x")],
        [],
    ),
    (
        "a longer timeout",
        ENTERED,
        funnel(attempt_timeout_ms=3_600_000),
        [at(3_600_999, "navigate", "/x")],
        [f"3600999 {AT_CHECKOUT}"],
    ),
    (
        "a longer recovery for what was lost before",
        GONE,
        funnel(recovery_ms=3_600_000),
        [at(3_601_999, "confirm", "/x")],
        [f"2000 {AT_CHECKOUT}", f"3601999 {BACK}"],
    ),
    (
        "a shorter recovery",
        GONE,
        funnel(recovery_ms=10_000),
        [at(12_000, "confirm", "/x")],
        [f"2000 {AT_CHECKOUT}"],
    ),
    (
        "other completing pages",
        ENTERED,
        funnel(completion_pages=("/done",)),
        [at(11_000, "navigate", "/confirm")],
        [f"11000 {AT_CHECKOUT}"],
    ),
    (
        "other steps close an open attempt silently",
        LEFT,
        funnel(steps=("/cart", "/checkout")),
        [at(11_000, "navigate", "/x")],
        [],
    ),
    (
        "other steps keep what can be recovered",
        GONE,
        funnel(steps=("/basket", "/pay")),
        [at(11_000, "purchase", "/x")],
        [f"2000 {AT_CHECKOUT}", f"11000 {BACK}"],
    ),
    (
        "a further attempt in the other steps",
        ENTERED,
        funnel(steps=("/cart", "/pay")),
        [at(11_000, "navigate", "/pay"), at(12_000, "navigate", "/x")],
        ["12000 opened high checkout:/pay"],
    ),
    (
        "a funnel that is gone, with what could be recovered",
        [*GONE, *(at(3_000, action, "/payment") for action in ("navigate", "leave"))],
        funnels(Funnel("other", ("/1", "/2"))),
        [at(11_000, "purchase", "/x")],
        [f"2000 {AT_CHECKOUT}"],
    ),
    (
        "a funnel that moves down the list",
        LEFT,
        funnels(Funnel("other", ("/cart", "/checkout")), Funnel()),
        [],
        [f"32000 {AT_CHECKOUT}"],
    ),
    (
        "a new funnel starts empty",
        ENTERED,
        funnels(Funnel("other", ("/cart", "/checkout")), Funnel()),
        [at(11_000, "navigate", "/x")],
        [f"11000 {AT_CHECKOUT}"],
    ),
    (
        "a funnel of the site's own, by the same name",
        ENTERED,
        funnels(Funnel(), Funnel(leave_grace_ms=60_000, site=1)),
        [at(11_000, "leave", "/checkout")],
        [f"71000 {AT_CHECKOUT}"],
    ),
    (
        "a funnel of another site's changes nothing",
        ENTERED,
        funnels(Funnel(), Funnel(steps=("/1", "/2"), site=2)),
        [at(11_000, "leave", "/checkout")],
        [f"41000 {AT_CHECKOUT}"],
    ),
    (
        "a funnel of the site's own, by another name",
        ENTERED,
        funnels(Funnel(), Funnel("order", site=1)),
        [at(11_000, "navigate", "/x")],
        [],
    ),
    (
        "a renamed funnel is another one",
        ENTERED,
        funnels(Funnel("order")),
        [at(11_000, "navigate", "/payment"), at(12_000, "navigate", "/x")],
        ["12000 opened high order:/payment"],
    ),
]


def test_a_site_goes_back_to_everyones_funnel():
    own = funnels(Funnel(), Funnel(leave_grace_ms=60_000, site=1))
    engine = Engine(own)
    changes = play(LEFT, engine=engine, until=10_000)
    engine.configure(funnels(Funnel()))
    changes += play([], engine=engine, until=END)
    assert told(changes) == [f"32000 {AT_CHECKOUT}"]


@pytest.mark.parametrize(
    ("before", "config", "after", "expected"),
    [pytest.param(*row[1:], id=row[0]) for row in TABLE],
)
def test_what_is_told(before, config, after, expected):
    engine = Engine()
    changes = play(before, engine=engine, until=10_000)
    engine.configure(config)
    assert engine.config == config
    changes += play(after, engine=engine, until=END)
    assert told(changes) == expected
    assert engine.gauges().attempts == engine.gauges().deadlines == 0


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_the_same_configuration_again_changes_nothing(row):
    _, before, config, after, _ = row
    once, twice = Engine(config), Engine(config)
    for engine in (once, twice):
        play(before, engine=engine, until=10_000)
    twice.configure(config)
    assert twice.gauges() == once.gauges()
    assert twice.next_deadline() == once.next_deadline()
    assert play(after, engine=twice, until=END) == play(after, engine=once, until=END)


def test_there_and_back_loses_nothing():
    """Through other numbers for every rule, and back before anything is heard."""
    other = EngineConfig(
        window_ms=400_000,
        cooldown_ms=200_000,
        loop=LoopSettings(min_visits=9),
        abandonment=AbandonmentSettings((Funnel("x", ("/1", "/2")), Funnel(leave_grace_ms=60_000))),
    )
    engines = Engine(), Engine()
    for engine in engines:
        play([*visits("A B A B A"), *LEFT[:2]], engine=engine)
        play([at(5_000, "leave", "/checkout")], engine=engine, until=10_000)
    changed, left = engines
    changed.configure(other)
    changed.configure(EngineConfig())
    assert changed.gauges().attempts == 1
    more = visits("B A", start=11_000)
    assert play(more, engine=changed, until=END) == play(more, engine=left, until=END)


def test_smaller_bounds_hold_at_once():
    engine = Engine()
    for user in "abc":
        play([at(0, "navigate", "/cart", user=user)], engine=engine)
    play([at(number, "click", "/cart", user="c") for number in range(1, 50)], engine=engine)
    before = engine.gauges()
    engine.configure(EngineConfig(max_events=10, max_visitors=2))
    gauges = engine.gauges()
    assert (gauges.visitors, gauges.attempts, gauges.deadlines) == (2, 2, 2)
    assert (gauges.evicted_visitors, gauges.evicted_attempts) == (1, 1)
    assert len(engine.window(1, "c").events) == 10
    assert engine.window(1, "a") is None
    assert gauges.bytes < before.bytes / 3


def test_smaller_bounds_by_bytes_hold_at_once():
    engine = Engine()
    metadata = {f"{key:02d}": "\N{GRINNING FACE}" * 512 for key in range(16)}
    for number in range(40):
        now = BASE + number
        engine.observe(Event(1, f"v{number}", "navigate", "/cart", now, "", metadata), now)
    assert engine.gauges().bytes > 2_000_000
    engine.configure(EngineConfig(max_bytes=1_000_000))
    gauges = engine.gauges()
    assert gauges.bytes <= 1_000_000
    assert gauges.attempt_bytes <= 250_000
    assert gauges.visitors + gauges.evicted_visitors == 40
    assert gauges.attempts + gauges.evicted_attempts == 40
    assert gauges.evicted_attempts > 0


def test_a_shorter_window_forgets_the_silent_at_once():
    engine = Engine()
    play([at(0, "click", user="w"), at(8_000, "click")], engine=engine, until=10_000)
    engine.configure(EngineConfig(window_ms=5_000, cooldown_ms=5_000))
    assert engine.window(1, "w") is None
    assert len(engine.window(1, "v").events) == 1
    assert engine.gauges().evicted_visitors == 0


def test_a_longer_window_keeps_what_is_there():
    engine = Engine()
    play([at(0, "click")], engine=engine, until=299_999)
    engine.configure(EngineConfig(window_ms=600_000))
    engine.advance(BASE + 599_999)
    assert len(engine.window(1, "v").events) == 1
    engine.advance(BASE + 600_000)
    assert engine.window(1, "v") is None
