"""The navigation-loop rule, row by row of its definition."""

import pytest

from detection.engine.config import EngineConfig
from detection.engine.engine import Engine
from detection.engine.rules.navigation_loop import LoopSettings

from .helpers import at, idle, play, told, visits

LOW = "4000 opened low /A /B"

TABLE = [
    ("one return", visits("A B A"), []),
    ("one fruitless return", visits("A B A B"), []),
    ("two fruitless returns, three visits to A", visits("A B A B A"), [LOW]),
    ("a list and ever new items", visits("A B A C A D A"), []),
    ("reloads", visits("A A A A A A"), []),
    ("reloads are no visits in between", visits("A A B B A B A"), ["6000 opened low /A /B"]),
    (
        "two fruitless returns, no page with three visits",
        visits("A B C A B C"),  # A, B and C are each new once; the second A, B return after C
        [],
    ),
    ("round three pages", visits("A B C A B C A"), ["6000 opened low /A /B /C"]),
    (
        "three visits alone do not make a loop: each return follows something new",
        visits("A B A C A D A E A"),
        [],
    ),
    (
        "something new before it makes a return fruitful",
        visits("A B A C B A"),  # the last B comes after C, A too: one fruitless return at most
        [],
    ),
    (
        "three fruitless returns are still low",
        visits("A B A B A B"),
        [LOW],
    ),
    (
        "four are medium, five are too, six are high, and there is nothing above",
        visits("A B A B A B A B A B A B"),
        [LOW, "6000 escalated medium /A /B", "8000 escalated high /A /B"],
    ),
    (
        "the set may grow: the same loop",
        visits("A B A B A C A B A B"),
        [LOW, "9000 escalated medium /A /B"],
    ),
    (
        "other events in between change nothing",
        [
            *visits("A B A B"),
            at(3_100, "click", "/B"),
            at(3_200, "scroll", "/B"),
            *visits("A", start=4_000),
        ],
        [LOW],
    ),
    (
        "a click on a page without a navigation makes it current",
        [*visits("A B A B A"), at(4_500, "click", "/C"), *visits("A B", start=5_000)],
        [LOW, "6000 escalated medium /A /B"],
    ),
    (
        "idle and leave of another page do not make it current",
        [*visits("A B A B"), at(3_500, "leave", "/C"), *visits("B A", start=4_000)],
        ["5000 opened low /A /B"],
    ),
    (
        "a navigation makes a hidden tab visible",
        [*visits("A B A B"), at(3_500, "tab_hidden", "/B"), *visits("A", start=4_000)],
        [LOW],
    ),
    (
        "another visitor's visits are not mine",
        [*visits("A B A B"), *visits("A", start=4_000, user="w")],
        [],
    ),
    (
        "another site's visits are not this one's",
        [*visits("A B A B"), *visits("A", start=4_000, site=2)],
        [],
    ),
    (
        "two visitors, two loops",
        [*visits("A B A B A"), *visits("A B A B A", user="w")],
        [LOW, LOW],
    ),
]


@pytest.mark.parametrize(
    ("stream", "expected"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_table(stream, expected):
    assert told(play(stream)) == expected


WINDOW = [
    #   A at 0            B    A    B    A
    (
        "the first visit is still in the window",
        [*visits("A"), *visits("B A B A", start=296_999)],
        ["299999 opened low /A /B"],
    ),
    ("the first visit has just left it", [*visits("A"), *visits("B A B A", start=297_000)], []),
]


@pytest.mark.parametrize(
    ("stream", "expected"), [row[1:] for row in WINDOW], ids=[r[0] for r in WINDOW]
)
def test_window(stream, expected):
    assert told(play(stream)) == expected


@pytest.mark.parametrize(("between", "expected"), [(195, 1), (196, 0)])
def test_the_limit_on_events(between, expected):
    scrolls = [at(500, "scroll", "/A")] * between
    assert len(play([*visits("A"), *scrolls, *visits("B A B A", start=1_000)])) == expected


LABELS = [
    (
        "a page whose visit has left the window is new again",
        [
            *visits("X"),
            *visits("A B A B", start=200_000),
            *visits("X", start=300_000),
            *visits("A", start=301_000),
        ],
        [],
    ),
    (
        "a page whose visit is still in the window is not new",
        [
            *visits("X"),
            *visits("A B A B", start=200_000),
            *visits("X", start=299_999),
            *visits("A", start=301_000),
        ],
        ["301000 opened low /A /B /X"],
    ),
    (
        "a return stays fruitless when the visit before it has left the window",
        [*visits("A B A B A", gap=70_000), *visits("B A", start=375_000)],
        ["280000 opened low /A /B", "376000 escalated medium /A /B"],
    ),
]


@pytest.mark.parametrize(
    ("stream", "expected"), [row[1:] for row in LABELS], ids=[r[0] for r in LABELS]
)
def test_labels(stream, expected):
    assert told(play(stream)) == expected


CEASED = [
    # A B A B A, 70 s apart: at 300 s the first A has left the window, and no page has 3 visits.
    (
        "it has ceased, but the cooldown has not: silent",
        [*visits("A B A B A", gap=70_000), *visits("B", start=301_000)],
        ["280000 opened low /A /B"],
    ),
    (
        "it has ceased, but the cooldown has not: it continues the last pattern",
        [*visits("A B A B A", gap=70_000), *visits("B A", start=301_000)],
        ["280000 opened low /A /B", "302000 escalated medium /A /B"],
    ),
    (
        "it has ceased, and the cooldown is over: a new one",
        [*visits("A B A B A", gap=70_000), *visits("B A B A", start=420_000)],
        ["280000 opened low /A /B", "421000 opened medium /A /B", "423000 escalated high /A /B"],
    ),
    (
        "it goes on: silent even when the cooldown is over",
        [*visits("A B A B A"), *visits("B", start=124_000)],
        [LOW],
    ),
    (
        "it goes on and is worse: escalates even when the cooldown is over",
        [*visits("A B A B A"), *visits("B A", start=124_000)],
        [LOW, "125000 escalated medium /A /B"],
    ),
    (
        "a window of silence ends it",
        [*visits("A B A B A"), *visits("A B A B A", start=304_000)],
        [LOW, "308000 opened low /A /B"],
    ),
]


@pytest.mark.parametrize(
    ("stream", "expected"), [row[1:] for row in CEASED], ids=[r[0] for r in CEASED]
)
def test_one_loop_is_one_pattern(stream, expected):
    assert told(play(stream)) == expected


def test_what_the_cooldown_silenced_is_the_same_loop():
    config = EngineConfig(loop=LoopSettings(3, 2, 20, 30))
    stream = [
        *visits("A B A B A", gap=70_000),
        *visits("B A B A", start=301_000),  # it had ceased; the cooldown silences it; it goes on
        *visits("B A", start=410_000),
    ]
    assert told(play(stream, config=config)) == ["280000 opened low /A /B"]


def test_page_is_the_most_visited():
    (change,) = play(visits("B C B C B"))
    assert change.pattern.page == "/B"


def test_of_equally_visited_pages_the_last():
    (change,) = play(visits("A B A B"), config=EngineConfig(loop=LoopSettings(2, 1, 4, 6)))
    assert change.pattern.page == "/B"


def test_evidence_is_the_visits_to_the_pages_of_the_loop():
    (change,) = play([*visits("X A B A"), at(3_500, "click", "/A"), *visits("B A", start=4_000)])
    pages = [event["page"] for event in change.pattern.evidence["events"]]
    assert pages == ["/A", "/B", "/A", "/B", "/A"]
    facts = change.pattern.evidence["facts"]
    assert (facts["visits"], facts["returns"], facts["page_visits"]) == (5, 2, 3)
    assert facts["span_ms"] == 4_000


def test_evidence_holds_the_newest_twenty():
    settings = LoopSettings(3, 2, 4, 30)
    changes = play(visits("A B " * 20), config=EngineConfig(loop=settings))
    stamps = [event["timestamp"] for event in changes[-1].pattern.evidence["events"]]
    assert len(stamps) == 20
    assert stamps == sorted(stamps)
    assert changes[-1].pattern.evidence["facts"]["visits"] == 33


def test_an_escalation_keeps_the_pattern():
    low, medium, high = play(visits("A B A B A B A B A"))
    assert low.pattern.pattern_id == medium.pattern.pattern_id == high.pattern.pattern_id


def test_a_loop_and_a_hesitation_have_their_own_cooldowns():
    changes = play([*visits("A B A B A"), idle(15_000, 10_000, "/A")])
    assert [change.pattern.type for change in changes] == ["navigation-loop", "hesitation"]


def test_many_pages_hold_no_more_than_the_window():
    engine = Engine()
    for number in range(1_000):
        play([at(number, "navigate", f"/{number}")], engine=engine)
    visitor = engine._visitors.held[1, "v"]
    assert visitor.visits is not None
    assert len(visitor.visits.pages) == 200
