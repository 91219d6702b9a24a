"""The hesitation rule, row by row of its definition."""

import pytest

from detection.engine.config import EngineConfig
from detection.engine.engine import Engine
from detection.engine.rules.hesitation import HesitationSettings

from .helpers import MINUTE, at, idle, play, told

HERE = at(0, "navigate", "/a")

TABLE = [
    ("below low", [HERE, idle(10_000, 9_999)], []),
    ("exactly low", [HERE, idle(10_000, 10_000)], ["10000 opened low /a"]),
    ("below medium", [HERE, idle(20_000, 19_999)], ["20000 opened low /a"]),
    ("exactly medium", [HERE, idle(20_000, 20_000)], ["20000 opened medium /a"]),
    ("below high", [HERE, idle(40_000, 39_999)], ["40000 opened medium /a"]),
    ("exactly high", [HERE, idle(40_000, 40_000)], ["40000 opened high /a"]),
    (
        "one spell is one pattern that escalates",
        [HERE, idle(10_000, 10_000), idle(20_000, 20_000), idle(40_000, 40_000)],
        ["10000 opened low /a", "20000 escalated medium /a", "40000 escalated high /a"],
    ),
    (
        "the same severity of the same spell is silent",
        [HERE, idle(10_000, 10_000), idle(15_000, 15_000)],
        ["10000 opened low /a"],
    ),
    (
        "a lower severity of the same spell is silent",
        [HERE, idle(20_000, 20_000), idle(21_000, 19_500)],
        ["20000 opened medium /a"],
    ),
    (
        "the same spell is silent even after the cooldown",
        [HERE, idle(40_000, 40_000), idle(200_000, 200_000)],
        ["40000 opened high /a"],
    ),
    (
        "the same spell escalates even after the cooldown",
        [HERE, idle(10_000, 10_000), idle(131_000, 131_000)],
        ["10000 opened low /a", "131000 escalated high /a"],
    ),
    (
        "a start 2000 ms later is the same spell",
        [HERE, idle(10_000, 10_000), idle(131_000, 129_000)],
        ["10000 opened low /a", "131000 escalated high /a"],
    ),
    (
        "a start 2001 ms later is another spell",
        [HERE, idle(10_000, 10_000), idle(131_000, 128_999)],
        ["10000 opened low /a", "131000 opened high /a"],
    ),
    (
        "a start 2000 ms earlier is the same spell",
        [HERE, idle(15_000, 10_000), idle(136_000, 133_000)],
        ["15000 opened low /a", "136000 escalated high /a"],
    ),
    (
        "a start 2001 ms earlier is another spell",
        [HERE, idle(15_000, 10_000), idle(136_000, 133_001)],
        ["15000 opened low /a", "136000 opened high /a"],
    ),
    (
        "another spell within the cooldown is silent",
        [HERE, idle(10_000, 10_000), idle(129_999, 10_000)],
        ["10000 opened low /a"],
    ),
    (
        "another spell when the cooldown is over opens a pattern",
        [HERE, idle(10_000, 10_000), idle(130_000, 10_000)],
        ["10000 opened low /a", "130000 opened low /a"],
    ),
    (
        "another, worse spell within the cooldown escalates the last pattern",
        [HERE, idle(10_000, 10_000), idle(100_000, 20_000)],
        ["10000 opened low /a", "100000 escalated medium /a"],
    ),
    (
        "the pattern then stands for the worse spell",
        [HERE, idle(10_000, 10_000), idle(100_000, 20_000), idle(230_000, 150_000)],
        ["10000 opened low /a", "100000 escalated medium /a", "230000 escalated high /a"],
    ),
    (
        "an escalation begins the cooldown anew: silent",
        [HERE, idle(10_000, 10_000), idle(100_000, 20_000), idle(219_999, 10_000)],
        ["10000 opened low /a", "100000 escalated medium /a"],
    ),
    (
        "an escalation begins the cooldown anew: over",
        [HERE, idle(10_000, 10_000), idle(100_000, 20_000), idle(220_000, 10_000)],
        ["10000 opened low /a", "100000 escalated medium /a", "220000 opened low /a"],
    ),
    (
        "another page has its own cooldown",
        [HERE, idle(10_000, 10_000), at(11_000, "navigate", "/b"), idle(22_000, 10_000, "/b")],
        ["10000 opened low /a", "22000 opened low /b"],
    ),
    (
        "idle on a page that is not the current one",
        [HERE, at(1_000, "navigate", "/b"), idle(12_000, 10_000, "/a")],
        [],
    ),
    (
        "a click tells the current page",
        [HERE, at(1_000, "click", "/b"), idle(12_000, 10_000, "/b")],
        ["12000 opened low /b"],
    ),
    (
        "leave and tab_hidden do not tell the current page",
        [HERE, at(1_000, "leave", "/b"), idle(12_000, 10_000, "/a")],
        ["12000 opened low /a"],
    ),
    ("any page while none is known", [idle(0, 10_000, "/a")], ["0 opened low /a"]),
    (
        "idle does not make its page the current one",
        [idle(0, 10_000, "/a"), idle(11_000, 10_000, "/b")],
        ["0 opened low /a", "11000 opened low /b"],
    ),
    ("hidden", [HERE, at(1_000, "tab_hidden"), idle(12_000, 10_000)], []),
    (
        "visible again",
        [HERE, at(1_000, "tab_hidden"), at(2_000, "tab_visible"), idle(12_000, 10_000)],
        ["12000 opened low /a"],
    ),
    (
        "a navigation makes visible",
        [HERE, at(1_000, "tab_hidden"), at(2_000, "navigate"), idle(12_000, 10_000)],
        ["12000 opened low /a"],
    ),
    (
        "an old spell in the window does not count again",
        [HERE, idle(10_000, 10_000), at(140_000, "click"), idle(141_000, 1_000)],
        ["10000 opened low /a"],
    ),
    (
        "another visitor has their own",
        [
            HERE,
            idle(10_000, 10_000),
            at(10_000, "navigate", user="w"),
            idle(20_000, 10_000, user="w"),
        ],
        ["10000 opened low /a", "20000 opened low /a"],
    ),
    (
        "another site has its own",
        [HERE, idle(10_000, 10_000), idle(10_000, 10_000, site=2)],
        ["10000 opened low /a", "10000 opened low /a"],
    ),
    ("another visitor's idle is not mine", [HERE, idle(10_000, 9_999, user="w")], []),
]


@pytest.mark.parametrize(
    ("stream", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_table(stream, expected):
    assert told(play(stream)) == expected


def test_an_escalation_keeps_the_pattern():
    opened, escalated = play([HERE, idle(10_000, 10_000), idle(20_000, 20_000)])
    assert opened.pattern.pattern_id == escalated.pattern.pattern_id
    assert opened.pattern.detected_at == escalated.pattern.detected_at


DURATIONS = [
    ("10000", 10_000),
    ("10000.0", 10_000),
    ("1e4", 10_000),
    ("0", None),
    ("9999", None),
    ("3600001", 3_600_000),
    ("9" * 500, 3_600_000),
    # Unusable: the gap of 11 s since the visitor's previous event stands in.
    ("", 11_000),
    ("-1", 11_000),
    ("-20000", 11_000),
    ("10000.5", 11_000),
    ("long", 11_000),
    ("nan", 11_000),
    ("inf", 11_000),
    ("²", 11_000),
    ("９９９９９", 11_000),
    ("20_000", 11_000),
]


@pytest.mark.parametrize(("text", "idle_ms"), DURATIONS, ids=lambda value: repr(value)[:20])
def test_duration(text, idle_ms):
    changes = play([HERE, idle(11_000, text)])
    found = [change.pattern.evidence["facts"]["idle_ms"] for change in changes]
    assert found == ([] if idle_ms is None else [idle_ms])


GAPS = [
    ("no previous event", [at(0, "idle")], []),
    ("below", [HERE, at(9_999, "idle")], []),
    ("exactly", [HERE, at(10_000, "idle")], ["10000 opened low /a"]),
    (
        "since the previous event, whatever it is",
        [HERE, at(5_000, "scroll"), at(14_999, "idle")],
        [],
    ),
    ("in the events' own time", [at(0, "navigate", ts=0), at(1, "idle", ts=10_000)], 1),
    ("a late event is clamped", [at(0, "navigate"), at(60_000, "idle", ts=-60_000)], []),
    ("a gap over an hour counts as one", [HERE, at(1, "idle", ts=2 * 60 * MINUTE)], 1),
]


@pytest.mark.parametrize(
    ("stream", "expected"), [row[1:] for row in GAPS], ids=[row[0] for row in GAPS]
)
def test_gap(stream, expected):
    changes = told(play(stream))
    assert changes == expected if isinstance(expected, list) else len(changes) == expected


def test_evidence_of_a_reported_spell_is_its_report():
    (change,) = play([HERE, idle(10_000, 10_000)])
    assert [event["action"] for event in change.pattern.evidence["events"]] == ["idle"]


def test_evidence_of_a_gap_has_both_ends():
    (change,) = play([HERE, at(10_000, "idle")])
    assert [event["action"] for event in change.pattern.evidence["events"]] == ["navigate", "idle"]
    assert change.pattern.evidence["facts"]["measured"] == "gap"


def test_evidence_of_an_escalation_has_what_opened_and_what_raised():
    changes = play([HERE, idle(10_000, 10_000), idle(20_000, 20_000), idle(40_000, 40_000)])
    durations = [
        event["metadata"]["duration_ms"] for event in changes[-1].pattern.evidence["events"]
    ]
    assert durations == ["10000", "20000", "40000"]


def test_the_numbers_are_settings():
    settings = HesitationSettings(low_ms=1_000, medium_ms=2_000, high_ms=3_000)
    changes = play([HERE, idle(1_000, 1_000)], config=EngineConfig(hesitation=settings))
    assert told(changes) == ["1000 opened low /a"]


def test_a_flood_of_pages_is_not_a_flood_of_patterns():
    engine = Engine(EngineConfig(max_standing=3))
    pages = [f"/{number}" for number in range(50)]
    flood = [event for page in pages for event in (at(0, "navigate", page), idle(0, 10_000, page))]
    assert len(play(flood, engine=engine)) == 3
    again = [at(119_999, "navigate", "/x"), idle(119_999, 10_000, "/x")]
    assert play(again, engine=engine) == []
    later = [idle(120_000, 10_000, "/x")]
    assert told(play(later, engine=engine)) == ["120000 opened low /x"]
