"""The abandonment rule, row by row of its definition."""

import pytest

from detection.engine.config import EngineConfig
from detection.engine.engine import Engine
from detection.engine.rules.abandonment import AbandonmentSettings
from detection.engine.rules.funnel import Funnel

from .helpers import MINUTE, at, idle, play, told

END = 60 * MINUTE
CART = at(0, "navigate", "/cart")
CHECKOUT = at(1_000, "navigate", "/checkout")
PAYMENT = at(2_000, "navigate", "/payment")
ENTERED = [CART, CHECKOUT]
AT_CHECKOUT = "opened high checkout:/checkout"
AT_PAYMENT = "opened high checkout:/payment"


def go(ms, page, **more):
    return at(ms, "navigate", page, **more)


LEAVING = [
    ("not entered: navigated", [CART, go(1_000, "/x")], []),
    ("not entered: abandon", [CART, at(1_000, "abandon", "/cart")], []),
    ("not entered: closed", [CART, at(1_000, "leave", "/cart")], []),
    ("not entered: hidden", [CART, at(1_000, "tab_hidden", "/cart")], []),
    ("navigated", [*ENTERED, go(5_000, "/x")], [f"5000 {AT_CHECKOUT}"]),
    ("abandon", [*ENTERED, at(5_000, "abandon", "/checkout")], [f"5000 {AT_CHECKOUT}"]),
    ("abandon on any page", [*ENTERED, at(5_000, "abandon", "/x")], [f"5000 {AT_CHECKOUT}"]),
    ("a click elsewhere is not leaving", [*ENTERED, at(5_000, "click", "/x")], []),
    (
        "a page like a step is not one",
        [*ENTERED, go(5_000, "/checkout/2")],
        [f"5000 {AT_CHECKOUT}"],
    ),
    (
        "the furthest step counts, going back is not leaving",
        [*ENTERED, PAYMENT, go(3_000, "/cart"), go(4_000, "/checkout"), go(5_000, "/x")],
        [f"5000 {AT_PAYMENT}"],
    ),
    ("entered at once on a later step", [PAYMENT, go(5_000, "/x")], [f"5000 {AT_PAYMENT}"]),
    (
        "a step entered backwards",
        [go(0, "/checkout"), go(1_000, "/cart"), go(2_000, "/")],
        [f"2000 {AT_CHECKOUT}"],
    ),
    ("completed by confirm", [*ENTERED, at(5_000, "confirm", "/x"), go(6_000, "/x")], []),
    ("completed by purchase", [*ENTERED, at(5_000, "purchase", "/x"), go(6_000, "/x")], []),
    ("completed by a page", [*ENTERED, go(5_000, "/confirm"), go(6_000, "/x")], []),
    (
        "a click on that page completes nothing",
        [*ENTERED, at(5_000, "click", "/confirm"), go(6_000, "/x")],
        [f"6000 {AT_CHECKOUT}"],
    ),
    ("30 minutes without events", ENTERED, []),
    (
        "a visitor's attempt is not another's",
        [*ENTERED, go(5_000, "/x", user="w"), go(6_000, "/x", site=2)],
        [],
    ),
    (
        "two visitors",
        [PAYMENT, go(3_000, "/payment", user="w"), go(4_000, "/x"), go(5_000, "/x", user="w")],
        [f"4000 {AT_PAYMENT}", f"5000 {AT_PAYMENT}"],
    ),
]

OPENING = [
    *(
        (f"{action} opens", [at(0, action, "/payment"), go(1_000, "/x")], [f"1000 {AT_PAYMENT}"])
        for action in ("navigate", "click", "scroll", "idle", "tab_visible")
    ),
    *(
        (f"{action} does not open", [at(0, action, "/payment"), go(1_000, "/x")], [])
        for action in ("leave", "tab_hidden", "abandon", "confirm", "purchase", "identify")
    ),
    (
        "a click on a later step reaches it",
        [CART, at(1_000, "click", "/payment"), go(2_000, "/x")],
        [f"2000 {AT_PAYMENT}"],
    ),
    (
        "what follows a completion on its page opens nothing",
        [
            PAYMENT,
            at(3_000, "purchase", "/payment"),
            at(4_000, "click", "/payment"),
            go(5_000, "/x"),
        ],
        [],
    ),
    (
        "what follows an abandon on its page opens nothing",
        [
            PAYMENT,
            at(3_000, "abandon", "/payment"),
            idle(130_000, 9_000, "/payment"),
            go(131_000, "/x"),
        ],
        [f"3000 {AT_PAYMENT}"],
    ),
    (
        "until they navigate",
        [PAYMENT, at(3_000, "purchase", "/payment"), go(4_000, "/payment"), go(5_000, "/x")],
        [f"5000 {AT_PAYMENT}"],
    ),
    (
        "back in the tab after being given up as gone: a new attempt",
        [
            PAYMENT,
            at(3_000, "tab_hidden", "/payment"),
            at(800_000, "tab_visible", "/payment"),
            go(801_000, "/x"),
        ],
        [f"603000 {AT_PAYMENT}", f"801000 {AT_PAYMENT}"],
    ),
]

LEAVE = [
    ("the grace is not over", [*ENTERED, at(5_000, "leave", "/checkout")], 34_999, []),
    (
        "the grace is over",
        [*ENTERED, at(5_000, "leave", "/checkout")],
        35_000,
        [f"35000 {AT_CHECKOUT}"],
    ),
    (
        "detected when due, however late",
        [*ENTERED, at(5_000, "leave", "/checkout")],
        END,
        [f"35000 {AT_CHECKOUT}"],
    ),
    *(
        (
            f"{action} cancels it",
            [
                *ENTERED,
                at(5_000, "leave", "/checkout"),
                at(34_999, action, "/checkout", duration_ms="0"),
            ],
            100_000,
            [],
        )
        for action in ("click", "scroll", "idle", "tab_visible", "navigate", "identify")
    ),
    (
        "an event at the very time comes too late",
        [*ENTERED, at(5_000, "leave", "/checkout"), at(35_000, "click", "/checkout")],
        END,
        [f"35000 {AT_CHECKOUT}"],
    ),
    (
        "tab_hidden does not cancel it",
        [*ENTERED, at(5_000, "leave", "/checkout"), at(5_001, "tab_hidden", "/checkout")],
        END,
        [f"35000 {AT_CHECKOUT}"],
    ),
    (
        "a second leave does not postpone it",
        [*ENTERED, at(5_000, "leave", "/checkout"), at(20_000, "leave", "/checkout")],
        END,
        [f"35000 {AT_CHECKOUT}"],
    ),
    (
        "a leave after a cancelled one counts from itself",
        [
            *ENTERED,
            at(5_000, "leave", "/checkout"),
            at(6_000, "click", "/checkout"),
            at(20_000, "leave", "/checkout"),
        ],
        END,
        [f"50000 {AT_CHECKOUT}"],
    ),
    (
        "a step's page says it is left after the next has begun",
        [
            go(0, "/checkout", view="1"),
            go(1_000, "/payment", view="2"),
            at(1_001, "leave", "/checkout", view="1"),
            at(1_002, "tab_hidden", "/checkout", view="1"),
        ],
        END,
        [],
    ),
    (
        "a leave of the current view counts",
        [go(0, "/checkout", view="1"), at(1_000, "leave", "/checkout", view="1")],
        END,
        [f"31000 {AT_CHECKOUT}"],
    ),
    (
        "a leave of a view never seen counts",
        [go(0, "/checkout", view="1"), at(1_000, "leave", "/checkout", view="2")],
        END,
        [f"31000 {AT_CHECKOUT}"],
    ),
    (
        "a leave that is not heard does not cancel either",
        [
            go(0, "/checkout", view="1"),
            go(1_000, "/payment", view="2"),
            at(5_000, "leave", "/payment", view="2"),
            at(6_000, "leave", "/checkout", view="1"),
        ],
        END,
        [f"35000 {AT_PAYMENT}"],
    ),
]

HIDE = at(5_000, "tab_hidden", "/checkout")
SILENCE = [
    ("hidden, not yet for long enough", [*ENTERED, HIDE], 604_999, []),
    ("hidden and silent for ten minutes", [*ENTERED, HIDE], 605_000, [f"605000 {AT_CHECKOUT}"]),
    (
        "an event while hidden begins the silence anew",
        [*ENTERED, HIDE, at(300_000, "scroll", "/checkout")],
        END,
        [f"900000 {AT_CHECKOUT}"],
    ),
    ("visible again", [*ENTERED, HIDE, at(604_999, "tab_visible", "/checkout")], END, []),
    (
        "an event at the very time comes too late",
        [*ENTERED, HIDE, at(605_000, "confirm", "/checkout")],
        605_000,
        [f"605000 {AT_CHECKOUT}", "605000 recovered high checkout:/checkout"],
    ),
    (
        "a visitor hidden before the attempt",
        [at(0, "tab_hidden", "/"), at(1_000, "click", "/payment")],
        END,
        [f"601000 {AT_PAYMENT}"],
    ),
    (
        "hidden outlives the visitor's window",
        [*ENTERED, HIDE, at(400_000, "idle", "/checkout")],
        END,
        [f"1000000 {AT_CHECKOUT}"],
    ),
    (
        "hidden, with no attempt open, does not outlive it",
        [
            CART,
            go(1_000, "/x"),
            at(2_000, "tab_hidden", "/x"),
            at(400_000, "click", "/payment"),
        ],
        END,
        [],
    ),
    (
        "a hidden tab of an earlier view is not silent",
        [
            go(0, "/checkout", view="1"),
            go(1, "/payment", view="2"),
            at(2, "tab_hidden", "/checkout", view="1"),
        ],
        END,
        [],
    ),
    (
        "just within 30 minutes it is the same attempt",
        [*ENTERED, go(1_800_999, "/x")],
        END,
        [f"1800999 {AT_CHECKOUT}"],
    ),
    ("after 30 minutes it is closed", [*ENTERED, go(1_801_000, "/x")], END, []),
    (
        "any heard event keeps it open",
        [*ENTERED, at(1_000_000, "click", "/checkout"), go(2_799_999, "/x")],
        END,
        [f"2799999 {AT_CHECKOUT}"],
    ),
]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [row[1:] for row in LEAVING + OPENING],
    ids=[row[0] for row in LEAVING + OPENING],
)
def test_leaving_and_opening(stream, expected):
    assert told(play(stream, until=END)) == expected


@pytest.mark.parametrize(
    ("stream", "until", "expected"),
    [row[1:] for row in LEAVE + SILENCE],
    ids=[row[0] for row in LEAVE + SILENCE],
)
def test_time(stream, until, expected):
    assert told(play(stream, until=until)) == expected


def test_each_funnel_is_watched_by_itself():
    funnels = (
        Funnel(),
        Funnel(name="sign up", steps=("/plan", "/form"), completion_pages=("/done",)),
    )
    config = EngineConfig(abandonment=AbandonmentSettings(funnels))
    stream = [go(0, "/form"), go(1_000, "/payment"), go(2_000, "/done")]
    assert told(play(stream, config=config)) == [
        "1000 opened high sign up:/form",
        "2000 opened high checkout:/payment",
        "2000 recovered high sign up:/form",
    ]


def test_each_site_has_its_funnel():
    funnels = (Funnel(), Funnel(steps=("/plan", "/form"), site=2), Funnel("again", site=2))
    config = EngineConfig(abandonment=AbandonmentSettings(funnels))
    pages = ("/plan", "/form", "/cart", "/checkout", "/x")
    stream = [
        at(1_000 * index + site, "navigate", page, site=site)
        for index, page in enumerate(pages)
        for site in (1, 2, 3)
    ]
    assert told(play(stream, config=config)) == [
        "2002 opened high checkout:/form",
        "4001 opened high checkout:/checkout",
        "4002 opened high again:/checkout",
        "4003 opened high checkout:/checkout",
    ]


def test_without_funnels_nothing_is_abandoned():
    config = EngineConfig(abandonment=AbandonmentSettings(()))
    assert play([*ENTERED, go(5_000, "/x")], config=config, until=END) == []


def test_a_longer_grace():
    funnel = Funnel(leave_grace_ms=300_000)
    config = EngineConfig(abandonment=AbandonmentSettings((funnel,)))
    stream = [*ENTERED, at(5_000, "leave", "/checkout")]
    assert told(play(stream, config=config, until=END)) == [f"305000 {AT_CHECKOUT}"]


def test_what_comes_late_of_an_earlier_view_opens_nothing():
    engine = Engine()
    stream = [
        at(0, "navigate", "/cart", view="v1"),
        at(1_000, "navigate", "/checkout", view="v2"),
        at(2_000, "navigate", "/", view="v3"),  # abandoned
        at(3_000, "click", "/checkout", view="v2"),
        at(3_000, "idle", "/checkout", view="v2"),
        at(4_000, "navigate", "/products", view="v4"),
    ]
    play(stream, engine=engine)
    assert (engine.stats(1).entered, engine.stats(1).abandoned) == (1, 1)
