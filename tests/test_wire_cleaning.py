"""What is left of events after cleaning: paths, short strings, times on the server's clock."""

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection import cleaning
from detection.cleaning import Cleaned
from detection.engine.engine import Engine
from detection.engine.events import ACTIONS, Event
from tests.test_wire import ARRIVAL, decode, event


def cleaned(**changes: Any) -> Event:
    return cleaning.clean(decode(event(**changes)), 1, ARRIVAL).events[0]


# --- pages, metadata, views -------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("/", "/"),
        ("//", "/"),
        ("/products", "/products"),
        ("/products/", "/products"),
        ("/products//", "/products"),
        ("products", "/products"),
        ("//evil.example/x", "/evil.example/x"),
        ("/products?q=shoes#top", "/products"),
        ("/products/?q=shoes", "/products"),
        ("/products#top?x", "/products"),
        ("?q=1", "/"),
        ("#top", "/"),
        ("https://shop.example/cart/?a=1#b", "/cart"),
        ("https://shop.example", "/"),
        ("https://shop.example?x=1", "/"),
        ("file:///C:/x", "/C:/x"),
        ("/redirect/https://shop.example/x", "/redirect/https://shop.example/x"),
        ("/a\x00b\x1fc\x7fd\x9fe", "/abcde"),
        ("/a/\x00/", "/a"),
        ("\x00", "/"),
        ("/a b", "/a b"),
        ("/caf\xe9/\N{WAVING HAND SIGN}/", "/caf\xe9/\N{WAVING HAND SIGN}"),
        ("/<script>alert(1)</script>", "/<script>alert(1)</script>"),
        ("javascript:alert(1)", "/javascript:alert(1)"),
        ("x" * 2048, "/" + "x" * 2047),
        ("x" * 2046 + "/y", "/" + "x" * 2046),
    ],
)
def test_a_page_is_kept_as_a_path(sent: str, kept: str) -> None:
    assert cleaned(page=sent).page == kept


@given(st.text(min_size=1, max_size=2048))
def test_a_page_is_a_short_path_whatever_is_sent(page: str) -> None:
    kept = cleaning.clean_page(page)
    assert kept.startswith("/")
    assert kept == "/" or not kept.endswith("/")
    assert len(kept) <= 2048
    assert "?" not in kept
    assert "#" not in kept
    assert not any(ord(letter) < 32 for letter in kept)
    assert cleaning.clean_page(kept) == kept


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({}, None),
        (None, None),
        ({"a": None}, None),
        ({"a": None, "b": 1}, {"b": "1"}),
        ({"a": True, "b": False}, {"a": "true", "b": "false"}),
        ({"a": 1, "b": -2.5, "c": 0}, {"a": "1", "b": "-2.5", "c": "0"}),
        ({"a": "x" * 513}, {"a": "x" * 512}),
        ({"a": "one\ntwo\0three"}, {"a": "one two three"}),
        ({"a\nb": "x"}, {"a b": "x"}),
        ({"": ""}, {"": ""}),
    ],
)
def test_metadata_is_kept_as_short_strings(
    sent: dict[str, Any] | None, kept: dict[str, str] | None
) -> None:
    assert cleaned(metadata=sent).metadata == kept


def test_a_view_is_kept_without_control_characters() -> None:
    assert cleaned(view="v\x00\n1").view == "v1"


# --- what repeats is held once ---------------------------------------------------------


def test_events_of_a_request_share_what_they_have_in_common() -> None:
    """Each text is its own object as decoded; a visitor's window would hold 200 of each."""
    long_page = "/" + "p" * 2_000
    sent = [
        event(user_id="visitor", page=page, view="view-1", action=action)
        for page in ("/products?q=1", long_page)
        for action in sorted(ACTIONS)
    ]
    events = cleaning.clean(decode(sent), 1, ARRIVAL).events
    assert len({id(kept.user_id) for kept in events}) == 1
    assert len({id(kept.view) for kept in events}) == 1
    assert len({id(kept.page) for kept in events}) == 2
    assert {id(kept.action) for kept in events} == {id(action) for action in ACTIONS}


def test_short_pages_are_shared_by_all_visitors() -> None:
    one, other = cleaned(user_id="a", page="/products/"), cleaned(user_id="b", page="/products/")
    assert one.page is other.page


def test_what_is_remembered_of_pages_is_bounded() -> None:
    """However many pages are made up, and however long, in letters of four bytes each."""
    remembered = cleaning._short_page.cache_info
    before = remembered().currsize
    for n in range(100):
        cleaning.clean_page(f"/{n}" + "\N{WAVING HAND SIGN}" * 1_000)
    assert remembered().currsize == before, "long ones are not remembered"
    most = remembered().maxsize
    assert most is not None
    for n in range(most + 100):
        cleaning.clean_page(f"/p{n}")
    assert remembered().currsize == most
    longest = "\N{WAVING HAND SIGN}" * cleaning.SHORT_PAGE
    assert most * 2 * sys.getsizeof(longest) < 16_000_000, "pages and what is kept of them, bytes"


# --- clocks ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timestamp", "sent_at", "happened", "corrected", "why"),
    [
        (ARRIVAL, None, ARRIVAL, 0, "now"),
        (ARRIVAL + 1, None, ARRIVAL, 1, "the future is now"),
        (ARRIVAL - 1, None, ARRIVAL - 1, 0, "just now"),
        (ARRIVAL - 299_999, None, ARRIVAL - 299_999, 0, "the last that is believed"),
        (ARRIVAL - 300_000, None, ARRIVAL, 1, "the first that is not: the window is open there"),
        (0, None, ARRIVAL, 1, "a clock that was never set"),
        (2**53 - 1, None, ARRIVAL, 1, "a clock far ahead"),
        (5_000, 5_000, ARRIVAL, 0, "sent as it happened, by a wrong clock"),
        (4_000, 5_000, ARRIVAL - 1_000, 0, "a second before sending, by a wrong clock"),
        (6_000, 5_000, ARRIVAL, 1, "after it was sent: now"),
        (0, 3_600_000, ARRIVAL - 3_600_000, 0, "sent an hour later, and so it is"),
        (0, ARRIVAL, 0, 0, "at the epoch itself"),
        (0, ARRIVAL + 1, 0, 1, "never before the epoch"),
        (0, 2**53 - 1, 0, 1, "nor long before it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_time_is_on_the_servers_clock(
    timestamp: int, sent_at: int | None, happened: int, corrected: int, why: str
) -> None:
    payload = {"sent_at": sent_at, "events": [event(timestamp=timestamp)]}
    made = cleaning.clean(decode(payload), 1, ARRIVAL)
    assert (made.events[0].timestamp, made.corrected) == (happened, corrected), why


def test_a_batch_is_sorted_by_time_and_equal_times_stay() -> None:
    times = [3, 1, 2, 1, 3]
    events = [event(user_id=f"{n}", timestamp=ARRIVAL + t - 9) for n, t in enumerate(times)]
    made = cleaning.clean(decode(events), 1, ARRIVAL)
    assert [e.user_id for e in made.events] == ["1", "3", "2", "0", "4"]
    assert made.corrected == 0


def test_events_carry_their_site() -> None:
    made: Cleaned = cleaning.clean(decode([event(), event()]), 7, ARRIVAL)
    assert [kept.site for kept in made.events] == [7, 7]


# --- what the engine makes of it -----------------------------------------------------------

HOUR = 3_600_000
LOOP = ["/a", "/b", "/a", "/b", "/a"]

# Each request: its arrival, its sent_at (None: an array) and its events as (timestamp, page).
# Then what the visitor's window holds, and how many events were late and corrected. All ms, from
# ARRIVAL on.
Sent = tuple[int, int | None, list[tuple[int, str]]]
CLOCKS: dict[str, tuple[list[Sent], list[tuple[int, str]], int, int]] = {
    "in order": (
        [(0, 0, [(-20, "/a"), (-10, "/b")]), (100, 100, [(50, "/a"), (60, "/b"), (70, "/a")])],
        [(-20, "/a"), (-10, "/b"), (50, "/a"), (60, "/b"), (70, "/a")],
        0,
        0,
    ),
    "out of order within a batch": (
        [(0, 0, [(-10, "/a"), (-40, "/b"), (-50, "/a"), (-20, "/b"), (-30, "/a")])],
        [(-50, "/a"), (-40, "/b"), (-30, "/a"), (-20, "/b"), (-10, "/a")],
        0,
        0,
    ),
    "a batch that was overtaken by the next": (
        [(0, 0, [(-10, "/a")]), (50, 50, [(-40, "/b"), (-30, "/a"), (-20, "/b"), (20, "/a")])],
        [(-10, "/a"), (-10, "/b"), (-10, "/a"), (-10, "/b"), (20, "/a")],
        3,
        0,
    ),
    "all at the same time": (
        [(0, 0, [(-10, page) for page in LOOP])],
        [(-10, page) for page in LOOP],
        0,
        0,
    ),
    "all at the same time, in a batch each": (
        [(n, n, [(-10, page)]) for n, page in enumerate(LOOP)],
        [(-10, page) for page in LOOP],
        0,
        0,
    ),
    "a clock an hour ahead, by an envelope": (
        [(0, HOUR, [(HOUR - 50 + n, page) for n, page in enumerate(LOOP)])],
        [(-50 + n, page) for n, page in enumerate(LOOP)],
        0,
        0,
    ),
    "a clock an hour behind, by an envelope": (
        [(0, -HOUR, [(-HOUR - 50 + n, page) for n, page in enumerate(LOOP)])],
        [(-50 + n, page) for n, page in enumerate(LOOP)],
        0,
        0,
    ),
    "a clock an hour ahead, in an array": (
        [(0, None, [(HOUR + n, page) for n, page in enumerate(LOOP)])],
        [(0, page) for page in LOOP],
        0,
        5,
    ),
    "a clock an hour behind, in an array": (
        [(0, None, [(n - HOUR, page) for n, page in enumerate(LOOP)])],
        [(0, page) for page in LOOP],
        0,
        5,
    ),
    "a clock that is put right between two batches": (
        [
            (0, HOUR, [(HOUR - 20, "/a"), (HOUR - 10, "/b")]),
            (100, 100, [(50, "/a"), (60, "/b"), (70, "/a")]),
        ],
        [(-20, "/a"), (-10, "/b"), (50, "/a"), (60, "/b"), (70, "/a")],
        0,
        0,
    ),
    "a clock that is put right between the last event and its sending": (
        [(0, 0, [(HOUR + n, page) for n, page in enumerate(LOOP)])],
        [(0, page) for page in LOOP],
        0,
        5,
    ),
    "delivered an hour later": (
        [(0, 0, [(n - HOUR, page) for n, page in enumerate(LOOP)])],
        [(n - HOUR, page) for n, page in enumerate(LOOP)],
        0,
        0,
    ),
    "one an hour after the rest, which is in the future": (
        [(0, 0, [(-4, "/a"), (-3, "/b"), (-2, "/a"), (-1, "/b"), (HOUR, "/a")])],
        [(-4, "/a"), (-3, "/b"), (-2, "/a"), (-1, "/b"), (0, "/a")],
        0,
        1,
    ),
}


@pytest.mark.parametrize(("sent", "held", "late", "corrected"), CLOCKS.values(), ids=CLOCKS.keys())
def test_whatever_the_clocks_say_windows_are_right_and_nothing_is_lost(
    sent: list[Sent], held: list[tuple[int, str]], late: int, corrected: int
) -> None:
    """Five visits each time, back and forth: the engine finds the loop in every row."""
    engine = Engine()
    counted = 0
    found = []
    for arrival, sent_at, events in sent:
        wired: Any = [
            event(action="navigate", page=page, timestamp=ARRIVAL + at) for at, page in events
        ]
        if sent_at is not None:
            wired = {"sent_at": ARRIVAL + sent_at, "events": wired}
        made = cleaning.clean(decode(wired), 1, ARRIVAL + arrival)
        counted += made.corrected
        for kept in made.events:
            found += engine.observe(kept, ARRIVAL + arrival)
    window = engine.window(1, "u1")
    assert window is not None
    assert [(kept.timestamp - ARRIVAL, kept.page) for kept in window.events] == held
    assert (engine.stats(1).total_events, engine.stats(1).late, counted) == (5, late, corrected)
    assert [change.pattern.type for change in found] == ["navigation-loop"]
    # And it is forgotten five minutes after the last arrival, whatever the timestamps were.
    last = ARRIVAL + sent[-1][0]
    engine.advance(last + 299_999)
    assert engine.window(1, "u1") is not None
    engine.advance(last + 300_000)
    assert engine.window(1, "u1") is None
