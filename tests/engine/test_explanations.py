"""What people read: neutral sentences whose numbers are all in the evidence."""

import json
import re

import pytest

from detection.engine.wording import duration, page_list, page_name

from .helpers import MINUTE, at, idle, play, visits

CHECKOUT = [at(0, "navigate", "/cart"), at(5_000, "navigate", "/checkout")]
LOST = [*CHECKOUT, at(50_000, "navigate", "/help")]

TEXTS = [
    ("hesitation", [idle(12_900, 12_900, "/pay")], "This visitor was idle on /pay for 12 seconds."),
    (
        "by the id they are known by",
        [at(0, "identify", "/pay", id="anna"), idle(65_000, 65_000, "/pay")],
        "anna was idle on /pay for 1 minute 5 seconds.",
    ),
    (
        "a loop of two",
        visits("A B A B A"),
        "This visitor went back and forth between /A and /B: 5 visits in 4 seconds. "
        "2 returns reached nothing new, and /A was visited 3 times.",
    ),
    (
        "a loop of three",
        visits("A B C A B C A", gap=10_000),
        "This visitor went back and forth between /A, /B and /C: 7 visits in 1 minute. "
        "2 returns reached nothing new, and /A was visited 3 times.",
    ),
    (
        "a loop of one",
        [
            event
            for number in range(3)
            for event in (
                at(number * 2_000, "navigate", "/A"),
                at(number * 2_000 + 1_000, "click", "/B"),
            )
        ],
        "This visitor kept going back to /A: 3 visits in 4 seconds. "
        "2 returns reached nothing new, and /A was visited 3 times.",
    ),
    (
        "navigated away",
        LOST,
        "This visitor left the checkout funnel at /checkout, step 2 of 3, for /help, "
        "50 seconds after starting it.",
    ),
    (
        "by an action",
        [*CHECKOUT, at(50_000, "abandon", "/checkout")],
        "This visitor left the checkout funnel at /checkout, step 2 of 3, "
        "50 seconds after starting it, by an abandon action.",
    ),
    (
        "left the page",
        [*CHECKOUT, at(50_000, "leave", "/checkout")],
        "This visitor left the checkout funnel at /checkout, step 2 of 3, "
        "50 seconds after starting it, by leaving the page, and was silent for 30 seconds.",
    ),
    (
        "hid the tab",
        [*CHECKOUT, at(50_000, "tab_hidden", "/checkout")],
        "This visitor left the checkout funnel at /checkout, step 2 of 3, "
        "50 seconds after starting it, by hiding the tab, and was silent for 10 minutes.",
    ),
    (
        "came back",
        [*LOST, at(355_000, "purchase", "/checkout")],
        "This visitor left the checkout funnel at /checkout, step 2 of 3, "
        "then came back and completed it 5 minutes 5 seconds later.",
    ),
]


@pytest.mark.parametrize(("stream", "text"), [r[1:] for r in TEXTS], ids=[r[0] for r in TEXTS])
def test_text(stream, text):
    assert play(stream, until=20 * MINUTE)[-1].pattern.explanation == text


@pytest.mark.parametrize("stream", [r[1] for r in TEXTS], ids=[r[0] for r in TEXTS])
def test_numbers_and_pages_come_from_the_facts(stream):
    for change in play(stream, until=20 * MINUTE):
        facts = json.dumps(change.pattern.evidence["facts"])
        known = set(re.findall(r"\d+", facts))
        assert set(re.findall(r"\d+", change.pattern.explanation)) <= known
        assert all(page in facts for page in re.findall(r"/\w+", change.pattern.explanation))


@pytest.mark.parametrize("stream", [r[1] for r in TEXTS], ids=[r[0] for r in TEXTS])
def test_evidence_is_plain_json_and_in_order(stream):
    for change in play(stream, until=20 * MINUTE):
        evidence = change.pattern.evidence
        assert json.loads(json.dumps(evidence)) == evidence
        stamps = [event["timestamp"] for event in evidence["events"]]
        assert stamps == sorted(stamps)
        assert 1 <= len(stamps) <= 20


def test_evidence_events_have_the_wires_shape():
    (change,) = play([at(0, "navigate", "/a", view="1"), idle(10_000, 10_000, "/a", view="1")])
    (event,) = change.pattern.evidence["events"]
    assert event == {
        "user_id": "v",
        "action": "idle",
        "page": "/a",
        "timestamp": 1_700_000_010_000,
        "view": "1",
        "metadata": {"duration_ms": "10000"},
    }


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (0, "less than a second"),
        (999, "less than a second"),
        (1_000, "1 second"),
        (59_999, "59 seconds"),
        (60_000, "1 minute"),
        (61_000, "1 minute 1 second"),
        (3_599_999, "59 minutes 59 seconds"),
        (3_600_000, "1 hour"),
        (3_605_000, "1 hour"),
        (7_380_000, "2 hours 3 minutes"),
    ],
)
def test_duration(ms, words):
    assert duration(ms) == words


def test_pages():
    assert page_list(["/a"], 1) == "/a"
    assert page_list(["/a", "/b", "/c", "/d"], 4) == "/a, /b, /c and /d"
    assert page_list(["/a", "/b", "/c", "/d", "/e"], 5) == "/a, /b, /c, /d and 1 other page"
    assert page_list(["/a", "/b", "/c", "/d", "/e"], 9) == "/a, /b, /c, /d and 5 other pages"
    assert page_name("/" + "a" * 119) == "/" + "a" * 119
    assert page_name("/" + "a" * 120) == "/" + "a" * 118 + "…"
