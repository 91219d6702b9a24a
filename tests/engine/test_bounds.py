"""Each bound, filled: nothing that a visitor sends makes the engine hold more than it may."""

import pytest

from detection.engine.config import EngineConfig
from detection.engine.engine import Engine
from detection.engine.events import Event
from detection.engine.rules.abandonment import AbandonmentSettings
from detection.engine.rules.funnel import Funnel

from .helpers import BASE, at, idle, play, told, visits

LEAST = 1_000_000
FACE = "\N{GRINNING FACE}"
FATTEST = {f"{key:02d}" + FACE * 62: FACE * 512 for key in range(16)}


def users(engine, site=1):
    """Who has a window, longest silent first."""
    return [visitor.user_id for visitor in reversed(engine.active_visitors(site, 10**9))]


def fat(ms, user, action="click", page="/a"):
    return Event(1, user, action, page, BASE + ms, "", FATTEST), BASE + ms


def test_the_longest_silent_visitor_goes_first():
    engine = Engine(EngineConfig(max_visitors=2))
    play([at(0, "click", user="a"), at(1, "click", user="b")], engine=engine)
    play([at(2, "click", user="a"), at(3, "click", user="c")], engine=engine)
    assert users(engine) == ["a", "c"]
    assert engine.gauges().visitors == 2
    assert engine.gauges().evicted_visitors == 1
    assert engine.window(1, "b") is None


def test_visitors_of_all_sites_share_the_bound():
    engine = Engine(EngineConfig(max_visitors=1))
    play([at(0, "click", site=1), at(1, "click", site=2)], engine=engine)
    assert engine.window(1, "v") is None
    assert engine.window(2, "v") is not None


def test_who_is_evicted_is_new_when_they_come_back():
    engine = Engine(EngineConfig(max_visitors=1))
    first = play([at(0, "navigate"), idle(10_000, 10_000)], engine=engine)
    play([at(11_000, "click", user="w")], engine=engine)
    again = play([at(12_000, "navigate"), idle(32_000, 10_000)], engine=engine)
    assert told([*first, *again]) == ["10000 opened low /a", "32000 opened low /a"]


def test_who_falls_silent_for_a_window_is_not_counted_as_evicted():
    engine = Engine(EngineConfig())
    play([at(0, "click")], engine=engine, until=300_000)
    assert engine.gauges().visitors == 0
    assert engine.gauges().bytes == 0
    assert engine.gauges().evicted_visitors == 0


def test_windows_are_bounded_by_bytes():
    """Visitors with the fattest metadata allowed; many go, few stay, the last always does."""
    engine = Engine(EngineConfig(max_bytes=LEAST))
    for number in range(200):
        play([fat(number, f"v{number}")], engine=engine)
        assert engine.gauges().bytes <= LEAST
        assert users(engine)[-1] == f"v{number}"
    gauges = engine.gauges()
    assert gauges.visitors + gauges.evicted_visitors == 200
    assert gauges.bytes > 0.9 * LEAST


def test_a_visitor_over_the_bound_by_themselves_stays():
    engine = Engine(EngineConfig(max_bytes=LEAST))
    play([at(0, "click", user="w")], engine=engine)
    play([fat(number, "v") for number in range(1, 50)], engine=engine)
    assert users(engine) == ["v"]
    assert engine.gauges().bytes > LEAST
    play([at(50, "click", user="w")], engine=engine)
    assert users(engine) == ["w"]


def test_bytes_are_given_back_as_events_leave_the_window():
    engine = Engine(EngineConfig(max_events=3))
    play([at(number, "click") for number in range(3)], engine=engine)
    light = engine.gauges().bytes
    play([fat(number, "v") for number in range(3, 6)], engine=engine)
    assert engine.gauges().bytes > light + 3 * 16 * 512 * 8
    play([at(number, "click") for number in range(6, 9)], engine=engine)
    assert engine.gauges().bytes == light


def test_what_has_left_the_window_is_held_by_nothing():
    engine = Engine(EngineConfig(max_events=3))
    play(
        [at(number, "navigate", f"/{number}", view=f"{number}") for number in range(20)],
        engine=engine,
    )
    visitor = engine._visitors.held[1, "v"]
    assert [event.page for event in visitor.window._events if event.page] == ["/17", "/18", "/19"]
    assert [visit.page for visit in visitor.visits._visits if visit.page] == ["/17", "/18", "/19"]
    assert len(visitor.visits.pages) == 3


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param([at(n, "navigate", f"/{n}" * 500) for n in range(300)], id="pages"),
        pytest.param([at(n, "click", view=f"{n}" + FACE * 50) for n in range(300)], id="views"),
        pytest.param([at(n, "identify", id=f"{n}" * 100) for n in range(300)], id="identities"),
        pytest.param(
            [
                step
                for n in range(300)
                for step in (at(n, "navigate", f"/{n}"), idle(n, 10_000, f"/{n}", more=FACE * 512))
            ],
            id="patterns",
        ),
        pytest.param(visits("A B " * 150, gap=1), id="loops"),
    ],
)
def test_what_one_visitor_makes_the_engine_hold_levels_off(stream):
    engine = Engine(EngineConfig(max_events=20))
    held = []
    for step in stream:
        play([step], engine=engine)
        held.append(engine.gauges().bytes)
    assert max(held[200:]) <= max(held[:200]) * 1.1


def test_evidence_keeps_cut_metadata_beyond_the_window():
    engine = Engine(EngineConfig(max_events=1))
    play([at(0, "navigate"), idle(10_000, 10_000, more="x" * 512)], engine=engine)
    (standing,) = engine._visitors.held[1, "v"].standings.values()
    assert standing.events[-1].metadata == {"duration_ms": "10000", "more": "x" * 100}
    play([at(11_000, "navigate", "/cart", more="x" * 512)], engine=engine)
    play([at(12_000, "tab_hidden", "/cart", more="x" * 512)], engine=engine)
    play([at(13_000, "leave", "/cart", more="x" * 512)], engine=engine)
    (journey,) = engine._journeys.held.values()
    kept = [journey.steps[0], journey.hidden_by, journey.left]
    assert [event.metadata for event in kept] == [{"more": "x" * 100}] * 3


def entering(ms, user, metadata=None):
    pages = ("/cart", "/checkout")
    return [
        (Event(1, user, "navigate", page, BASE + ms, "", metadata), BASE + ms) for page in pages
    ]


def test_the_attempt_longest_unheard_goes_first():
    engine = Engine(EngineConfig(max_visitors=2))
    play([*entering(0, "a"), *entering(1, "b"), at(2, "click", "/cart", user="a")], engine=engine)
    play(entering(3, "c"), engine=engine)
    gauges = engine.gauges()
    assert (gauges.attempts, gauges.evicted_attempts, gauges.deadlines) == (2, 1, 2)
    away = [at(10 + n, "navigate", "/x", user=user) for n, user in enumerate("abc")]
    assert [change.pattern.user_id for change in play(away, engine=engine)] == ["a", "c"]
    assert engine.stats(1).entered == 3
    assert engine.stats(1).abandoned == 2


def test_an_attempt_outlives_the_eviction_of_its_visitor():
    engine = Engine(EngineConfig(max_visitors=1))
    play([*entering(0, "a"), at(1, "click", "/x", user="b")], engine=engine)
    assert users(engine) == ["b"]
    assert told(play([at(2, "leave", "/checkout", user="a")], engine=engine, until=40_000)) == [
        "30002 opened high checkout:/checkout"
    ]


def test_the_wake_ups_of_who_was_evicted_are_harmless():
    """Theirs are nearest; and one comes back to wait for the very same moment."""
    engine = Engine(EngineConfig(max_visitors=2))
    play([*entering(0, "a"), at(0, "leave", "/checkout", user="a")], engine=engine)
    assert engine.next_deadline() == BASE + 30_000
    play([*entering(0, "b"), *entering(0, "c")], engine=engine)
    assert engine.next_deadline() == BASE + 1_800_000
    play([*entering(0, "a"), at(0, "leave", "/checkout", user="a")], engine=engine)
    assert engine.gauges().deadlines == 3
    changes = play([], engine=engine, until=40_000)
    assert told(changes) == ["30000 opened high checkout:/checkout"]
    assert told(play([], engine=engine, until=7_200_000)) == []
    assert len(engine._journeys.deadlines._heap) == 0


def test_open_attempts_are_bounded_by_bytes():
    engine = Engine(EngineConfig(max_bytes=LEAST))
    for number in range(200):
        play(entering(number, f"v{number}", FATTEST), engine=engine)
        assert engine.gauges().attempt_bytes <= LEAST // 4
    gauges = engine.gauges()
    assert gauges.attempts + gauges.evicted_attempts == 200
    assert gauges.attempt_bytes > 0.8 * LEAST // 4


def test_losses_are_bounded_by_bytes():
    """Every visitor abandons until sixteen losses are remembered."""
    engine = Engine(EngineConfig(max_bytes=LEAST, cooldown_ms=1))
    for number in range(100):
        user = f"v{number}"
        for turn in range(18):
            ms = number * 100 + turn * 2
            play([*entering(ms, user), at(ms + 1, "navigate", "/x", user=user)], engine=engine)
        gauges = engine.gauges()
        assert gauges.attempt_bytes <= LEAST // 4
        assert max(len(way.losses) for way in engine._journeys.held.values()) == 16
    assert gauges.evicted_attempts > 50
    assert gauges.attempts + gauges.evicted_attempts == 100


def test_the_heap_does_not_outgrow_the_attempts():
    """Each visitor arms a deadline and is evicted long before it is due."""
    engine = Engine(EngineConfig(max_visitors=50))
    for number in range(5_000):
        user = f"v{number}"
        play([*entering(number, user), at(number, "leave", "/checkout", user=user)], engine=engine)
        assert len(engine._journeys.deadlines._heap) <= 2 * 2 * 50 + 70
    gauges = engine.gauges()
    assert (gauges.visitors, gauges.attempts, gauges.deadlines) == (50, 50, 100)
    assert (gauges.evicted_visitors, gauges.evicted_attempts) == (4_950, 4_950)
    assert len(play([], engine=engine, until=60_000)) == 50


def test_no_two_funnels_hold_more_than_one_may():
    """An attempt is one visitor's in one funnel; the bound is for all of them together."""
    funnels = (Funnel(), Funnel("again"))
    engine = Engine(EngineConfig(max_visitors=2, abandonment=AbandonmentSettings(funnels)))
    play([*entering(0, "a"), *entering(1, "b")], engine=engine)
    gauges = engine.gauges()
    assert (gauges.visitors, gauges.attempts, gauges.evicted_attempts) == (2, 2, 2)
    away = [at(10, "navigate", "/x", user="a"), at(11, "navigate", "/x", user="b")]
    assert told(play(away, engine=engine)) == [
        "11 opened high checkout:/checkout",
        "11 opened high again:/checkout",
    ]
