"""What becomes of abandonments: the rate, the cooldown, recoveries, and the evidence."""

import pytest

from detection.engine.engine import Engine

from .helpers import BASE, MINUTE, at, play, told

END = 60 * MINUTE
CART = at(0, "navigate", "/cart")
CHECKOUT = at(1_000, "navigate", "/checkout")
PAYMENT = at(2_000, "navigate", "/payment")
ENTERED = [CART, CHECKOUT]
AT_CHECKOUT = "opened high checkout:/checkout"
AT_PAYMENT = "opened high checkout:/payment"
HIDE = at(5_000, "tab_hidden", "/checkout")


def go(ms, page, **more):
    return at(ms, "navigate", page, **more)


def again(ms):
    return [go(ms - 1_000, "/payment"), go(ms, "/x")]


RECOVERED = "recovered high checkout:/payment"
RATE = [
    ("nothing entered", [CART], [], (0, 0)),
    ("entered", [*ENTERED, PAYMENT], [], (1, 0)),
    ("abandoned", again(5_000), [f"5000 {AT_PAYMENT}"], (1, 1)),
    (
        "a second within the cooldown is silent, and counts",
        [*again(5_000), *again(124_999)],
        [f"5000 {AT_PAYMENT}"],
        (2, 2),
    ),
    (
        "a second after the cooldown is a pattern",
        [*again(5_000), *again(125_000)],
        [f"5000 {AT_PAYMENT}", f"125000 {AT_PAYMENT}"],
        (2, 2),
    ),
    (
        "another step has its own cooldown",
        [*again(5_000), go(6_000, "/checkout"), go(7_000, "/x")],
        [f"5000 {AT_PAYMENT}", f"7000 {AT_CHECKOUT}"],
        (2, 2),
    ),
    (
        "recovered, without a new attempt",
        [*again(5_000), at(9_000, "purchase", "/x")],
        [f"5000 {AT_PAYMENT}", f"9000 {RECOVERED}"],
        (1, 0),
    ),
    (
        "recovered, by a second attempt",
        [*again(5_000), go(8_000, "/payment"), go(9_000, "/confirm")],
        [f"5000 {AT_PAYMENT}", f"9000 {RECOVERED}"],
        (2, 0),
    ),
    (
        "recovered at the last moment",
        [*again(5_000), at(1_804_999, "purchase", "/x")],
        [f"5000 {AT_PAYMENT}", f"1804999 {RECOVERED}"],
        (1, 0),
    ),
    (
        "too late to recover",
        [*again(5_000), at(1_805_000, "purchase", "/x")],
        [f"5000 {AT_PAYMENT}"],
        (1, 1),
    ),
    (
        "too late to recover, by an attempt begun in time",
        [
            *again(5_000),
            go(100_000, "/payment"),
            at(1_000_000, "click", "/payment"),
            at(1_805_000, "confirm", "/payment"),
        ],
        [f"5000 {AT_PAYMENT}"],
        (2, 1),
    ),
    (
        "one that is too old stays, a newer one is recovered, of the same attempt's kind",
        [*again(5_000), *again(200_000), at(1_900_000, "purchase", "/x")],
        [f"5000 {AT_PAYMENT}", f"200000 {AT_PAYMENT}", f"1900000 {RECOVERED}"],
        (2, 1),
    ),
    (
        "every abandonment of one pattern is recovered with it, told once",
        [*again(5_000), *again(50_000), at(60_000, "purchase", "/x")],
        [f"5000 {AT_PAYMENT}", f"60000 {RECOVERED}"],
        (2, 0),
    ),
    (
        "each pattern is told of",
        [go(0, "/checkout"), go(1_000, "/x"), *again(5_000), at(9_000, "confirm", "/x")],
        [
            f"1000 {AT_CHECKOUT}",
            f"5000 {AT_PAYMENT}",
            "9000 recovered high checkout:/checkout",
            f"9000 {RECOVERED}",
        ],
        (2, 0),
    ),
    (
        "once recovered, not again",
        [*again(5_000), at(9_000, "confirm", "/x"), at(10_000, "confirm", "/x")],
        [f"5000 {AT_PAYMENT}", f"9000 {RECOVERED}"],
        (1, 0),
    ),
    (
        "after a recovery a further abandonment opens a pattern within the cooldown",
        [*again(5_000), at(9_000, "confirm", "/x"), *again(20_000)],
        [f"5000 {AT_PAYMENT}", f"9000 {RECOVERED}", f"20000 {AT_PAYMENT}"],
        (2, 1),
    ),
    (
        "unless on the same millisecond: the id would be the same",
        [go(0, "/payment"), go(0, "/x"), at(0, "confirm", "/x"), go(0, "/payment"), go(0, "/x")],
        [f"0 {AT_PAYMENT}", f"0 {RECOVERED}"],
        (2, 1),
    ),
    (
        "another's completion recovers nothing",
        [*again(5_000), at(9_000, "confirm", "/x", user="w"), at(9_000, "confirm", "/x", site=2)],
        [f"5000 {AT_PAYMENT}"],
        (1, 1),
    ),
]


@pytest.mark.parametrize(
    ("stream", "expected", "rate"), [row[1:] for row in RATE], ids=[row[0] for row in RATE]
)
def test_rate(stream, expected, rate):
    engine = Engine()
    assert told(play(stream, engine=engine)) == expected
    stats = engine.stats(1)
    assert (stats.entered, stats.abandoned) == rate
    assert stats.abandonment_rate == (rate[1] / rate[0] if rate[0] else 0)


def test_the_cooldown_outlives_the_visitors_window():
    hidden = [PAYMENT, at(3_000, "tab_hidden", "/payment")]  # due at 603 000; forgotten at 303 000
    assert told(play([*hidden, *again(650_000)])) == [f"603000 {AT_PAYMENT}"]


def test_sixteen_abandonments_are_remembered():
    engine = Engine()
    play([event for number in range(20) for event in again(5_000 + number * 2_000)], engine=engine)
    play([at(50_000, "confirm", "/x")], engine=engine)
    assert engine.stats(1).abandoned == 4


LEFT_BY = [
    ("navigated", [*ENTERED, go(5_000, "/x")], "/x", ["navigate", "navigate", "navigate"]),
    ("abandon", [*ENTERED, at(5_000, "abandon", "/y")], "", ["navigate", "navigate", "abandon"]),
    ("closed", [*ENTERED, at(5_000, "leave", "/y")], "", ["navigate", "navigate", "leave"]),
    ("hidden", [*ENTERED, HIDE], "", ["navigate", "navigate", "tab_hidden"]),
]


@pytest.mark.parametrize(
    ("left_by", "stream", "went_to", "actions"), LEFT_BY, ids=[row[0] for row in LEFT_BY]
)
def test_evidence(left_by, stream, went_to, actions):
    (change,) = play(stream, until=END)
    facts = change.pattern.evidence["facts"]
    assert (facts["left_by"], facts["went_to"], facts["elapsed_ms"]) == (left_by, went_to, 5_000)
    assert facts["steps"] == [
        {"page": "/cart", "at": BASE},
        {"page": "/checkout", "at": BASE + 1_000},
    ]
    assert [event["action"] for event in change.pattern.evidence["events"]] == actions


def test_an_attempt_that_is_not_entered_outlives_a_leave():
    stream = [CART, at(1_000, "leave", "/cart"), go(60_000, "/checkout"), go(61_000, "/x")]
    (change,) = play(stream)
    pages = [step["page"] for step in change.pattern.evidence["facts"]["steps"]]
    assert pages == ["/cart", "/checkout"]


def test_evidence_of_a_recovery_has_the_completion():
    recovered = play([*again(5_000), at(9_000, "purchase", "/y")])[-1].pattern
    assert recovered.evidence["events"][-1]["action"] == "purchase"
    assert recovered.evidence["facts"]["recovered_after_ms"] == 4_000
