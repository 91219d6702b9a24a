"""Windows, time, views, identity and what the engine answers about itself."""

import subprocess
import sys

import pytest

from detection.engine.config import EngineConfig
from detection.engine.engine import Engine
from detection.engine.events import ACTIONS
from detection.engine.snapshots import SiteStats

from .helpers import BASE, MINUTE, at, idle, play, told, visits


def held(engine, user="v", site=1):
    window = engine.window(site, user)
    return [event.timestamp - BASE for event in window.events] if window else None


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        (299_999, [0, 1]),
        (300_000, [1]),
        (300_001, None),
    ],
)
def test_the_window_excludes_its_start_and_includes_its_end(until, expected):
    engine = Engine()
    play([at(0, "click"), at(1, "click")], engine=engine, until=until)
    assert held(engine) == expected


def test_the_window_counts_arrival_not_timestamps():
    engine = Engine()
    play([at(0, "click", ts=-1_000_000), at(1, "click", ts=900_000)], engine=engine, until=299_999)
    assert held(engine) == [-1_000_000, 900_000]


@pytest.mark.parametrize(("sent", "first", "kept"), [(199, 0, 199), (200, 0, 200), (201, 1, 200)])
def test_the_window_holds_two_hundred_events(sent, first, kept):
    engine = Engine()
    play([at(number, "scroll") for number in range(sent)], engine=engine)
    assert held(engine)[0] == first
    assert len(held(engine)) == kept


def test_the_window_is_a_copy():
    engine = Engine()
    play([at(0, "click")], engine=engine)
    engine.window(1, "v").events.clear()
    assert held(engine) == [0]


def test_no_window_for_the_unknown():
    engine = Engine()
    play([at(0, "click")], engine=engine)
    assert engine.window(1, "w") is None
    assert engine.window(2, "v") is None


def test_now_never_decreases():
    engine = Engine()
    play([at(5_000, "navigate"), at(1_000, "click")], engine=engine)
    assert engine.now == BASE + 5_000
    assert engine.window(1, "v").last_seen == BASE + 5_000
    engine.advance(0)
    assert engine.now == BASE + 5_000


def test_an_event_older_than_the_visitors_last_is_clamped_and_counted():
    engine = Engine()
    play([at(5_000, "click"), at(6_000, "click", ts=4_999), at(7_000, "click")], engine=engine)
    assert held(engine) == [5_000, 5_000, 7_000]
    assert engine.stats(1).late == 1
    assert engine.window(1, "v").events[1].metadata is None


def test_an_event_of_the_same_time_is_not_late():
    engine = Engine()
    play([at(5_000, "click"), at(6_000, "click", ts=5_000)], engine=engine)
    assert engine.stats(1).late == 0


def test_another_visitors_time_is_their_own():
    engine = Engine()
    play([at(5_000, "click"), at(6_000, "click", ts=4_000, user="w")], engine=engine)
    assert engine.stats(1).late == 0


def test_a_visitor_silent_for_a_window_is_new():
    engine = Engine()
    stream = [at(0, "tab_hidden", "/a"), at(0, "identify", "/a", id="anna")]
    play([*stream, at(300_000, "click", "/b", ts=-5_000)], engine=engine)
    window = engine.window(1, "v")
    assert (window.hidden, window.identified, window.current_page) == (False, "", "/b")
    assert engine.stats(1).late == 0


def test_a_visitor_heard_of_within_a_window_is_the_same():
    engine = Engine()
    stream = [at(0, "tab_hidden", "/a"), at(0, "identify", "/a", id="anna")]
    play([*stream, at(299_999, "click", "/b")], engine=engine)
    window = engine.window(1, "v")
    assert (window.hidden, window.identified, window.current_page) == (True, "anna", "/b")


def test_stats():
    engine = Engine()
    stream = [at(0, "click"), at(1, "click", user="w"), at(2, "click", site=2)]
    play([*stream, at(60_000, "click", user="x")], engine=engine)
    assert engine.stats(1) == SiteStats(total_events=3, active_users=2)
    assert engine.stats(2) == SiteStats(total_events=1, active_users=1)
    assert engine.stats(3) == SiteStats()


def test_active_visitors_newest_first():
    engine = Engine()
    play([at(0, "navigate", "/a"), at(1, "navigate", "/b", user="w"), at(2, "idle")], engine=engine)
    active = engine.active_visitors(1, MINUTE)
    assert [(one.user_id, one.current_page, one.last_seen) for one in active] == [
        ("v", "/a", BASE + 2),
        ("w", "/b", BASE + 1),
    ]
    assert engine.active_visitors(1, 1) == active[:1]
    assert engine.active_visitors(1, 10**15) == active
    assert engine.active_visitors(2, MINUTE) == []


def test_the_page_of_the_last_event_while_no_current_one_is_known():
    engine = Engine()
    play([at(0, "leave", "/a"), at(1, "idle", "/b")], engine=engine)
    assert engine.window(1, "v").current_page == "/b"


def test_every_action_is_held_and_none_raises():
    engine = Engine()
    play([at(0, action) for action in sorted(ACTIONS)], engine=engine)
    assert len(held(engine)) == len(ACTIONS)


def test_strange_but_valid_strings():
    strange = "/ü \ud800\x00" + "x" * 2_000
    changes = play([at(0, "navigate", strange, user="ü"), idle(20_000, 10_000, strange, user="ü")])
    assert changes[0].pattern.page == strange


def test_ids_are_url_safe_and_tell_keys_apart():
    streams = [
        [idle(10_000, 10_000, "/a")],
        [idle(10_000, 10_000, "/b")],
        [idle(10_001, 10_000, "/a")],
        [idle(10_000, 10_000, "/a", user="w")],
        [idle(10_000, 10_000, "/a", site=2)],
        [idle(10_000, 10_000, "/a", user="11", site=1)],
        [idle(10_000, 10_000, "/a", user="1", site=11)],
    ]
    ids = [play(stream)[0].pattern.pattern_id for stream in streams]
    assert len(set(ids)) == len(ids)
    alphabet = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert all(len(id_) == 22 and set(id_) <= alphabet for id_ in ids)


def test_an_id_stays_what_it_has_always_been():
    (change,) = play([idle(10_000, 10_000, "/a")])
    assert change.pattern.pattern_id == "rp4X3pBkJ6En-xAfQXvD9A"


def test_deadlines_of_several_visitors_fire_in_order():
    engine = Engine()
    for user, site in (("w", 1), ("v", 2), ("v", 1)):
        play([at(0, "navigate", "/payment", user=user, site=site)], engine=engine)
    for user, site in (("v", 2), ("w", 1), ("v", 1)):
        play([at(1, "leave", "/payment", user=user, site=site)], engine=engine)
    changes = engine.advance(BASE + 10 * MINUTE)
    fired = [(change.at - BASE, change.pattern.site, change.pattern.user_id) for change in changes]
    assert fired == [(30_001, 1, "v"), (30_001, 1, "w"), (30_001, 2, "v")]


def test_no_deadline_fires_before_the_next():
    engine = Engine()
    assert engine.next_deadline() is None
    play([at(0, "navigate", "/payment"), at(1, "leave", "/payment")], engine=engine)
    assert engine.next_deadline() == BASE + 30_001
    assert engine.advance(BASE + 30_000) == []
    assert len(engine.advance(BASE + 30_001)) == 1


def test_deadlines_come_before_the_event_that_reveals_them():
    stream = [
        at(0, "navigate", "/payment"),
        at(1, "leave", "/payment"),
        *visits("A B A B A", 90_000),
    ]
    assert told(play(stream)) == [
        "30001 opened high checkout:/payment",
        "94000 opened low /A /B",
    ]


def test_everything_is_forgotten_in_the_end():
    engine = Engine()
    for number in range(300):
        user = f"v{number}"
        stream = [*visits("cart checkout payment", user=user), at(3_000, "leave", user=user)]
        play([*stream, idle(60_000, 10_000, "/payment", user=user)], engine=engine)
    play([], engine=engine, until=6 * MINUTE)
    assert len(engine._visitors.held) == 0
    play([], engine=engine, until=120 * MINUTE)
    assert len(engine._journeys.deadlines) == 0
    assert engine.next_deadline() is None
    assert not engine._journeys.held


def test_a_fickle_visitor_keeps_the_deadlines_few():
    engine = Engine()
    for number in range(2_000):
        actions = ("navigate", "leave", "tab_hidden", "tab_visible")
        stream = [at(number * 10, action, "/payment") for action in actions]
        play(stream, engine=engine)
    assert len(engine._journeys.deadlines) <= 4


def test_limits_are_settings():
    engine = Engine(EngineConfig(window_ms=1_000, max_events=3, cooldown_ms=1_000))
    play([at(number * 100, "click") for number in range(5)], engine=engine)
    assert held(engine) == [200, 300, 400]
    engine.advance(BASE + 1_300)
    assert held(engine) == [400]


def test_the_engine_loads_no_django_and_no_threads():
    code = (
        "import sys; import detection.engine.engine; "
        "print([name for name in ('django', 'threading', 'socket', 'sqlite3', 'asyncio') "
        "if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_engine_reads_no_clock():
    code = (
        "import sys, time, datetime, detection.engine.engine; "
        "print([name for name, module in list(sys.modules.items()) "
        "if name.startswith('detection') and {'time', 'datetime'} & set(vars(module))])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
