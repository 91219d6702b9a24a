"""Which view a visitor is on, whether it is hidden, and who they are."""

import pytest

from detection.engine.engine import Engine

from .helpers import at, idle, play

VIEWS = [
    ("no views", [at(0, "navigate"), at(1, "tab_hidden")], True),
    ("the current view", [at(0, "navigate", view="1"), at(1, "tab_hidden", view="1")], True),
    (
        "an earlier view",
        [at(0, "navigate", view="1"), at(1, "navigate", view="2"), at(2, "tab_hidden", view="1")],
        False,
    ),
    (
        "no view said",
        [at(0, "navigate", view="1"), at(1, "navigate", view="2"), at(2, "tab_hidden")],
        True,
    ),
    ("a view never seen", [at(0, "navigate", view="1"), at(1, "tab_hidden", view="2")], True),
    (
        "a view never seen becomes the current one",
        [at(0, "navigate", view="1"), at(1, "click", view="2"), at(2, "tab_hidden", view="1")],
        False,
    ),
    (
        "a click of an earlier view does not make it current",
        [
            at(0, "navigate", view="1"),
            at(1, "navigate", view="2"),
            at(2, "click", view="1"),
            at(3, "tab_hidden", view="1"),
        ],
        False,
    ),
    (
        "a navigation to an earlier view makes it current",
        [
            at(0, "navigate", view="1"),
            at(1, "navigate", view="2"),
            at(2, "navigate", view="1"),
            at(3, "tab_hidden", view="1"),
        ],
        True,
    ),
    (
        "after a navigation without a view every known one is earlier",
        [at(0, "navigate", view="1"), at(1, "navigate"), at(2, "tab_hidden", view="1")],
        False,
    ),
    (
        "the eighth view back is known",
        [*(at(n, "navigate", view=str(n)) for n in range(8)), at(9, "tab_hidden", view="0")],
        False,
    ),
    (
        "the ninth is not",
        [*(at(n, "navigate", view=str(n)) for n in range(9)), at(9, "tab_hidden", view="0")],
        True,
    ),
]


@pytest.mark.parametrize(("stream", "hidden"), [r[1:] for r in VIEWS], ids=[r[0] for r in VIEWS])
def test_views(stream, hidden):
    engine = Engine()
    play(stream, engine=engine)
    assert engine.window(1, "v").hidden is hidden
    assert len(engine.window(1, "v").events) == len(stream)


IDENTITIES = [
    ("an id", {"id": "anna"}, "anna"),
    ("cut to 128 characters", {"id": "a" * 129}, "a" * 128),
    ("blank", {"id": "  "}, ""),
    ("missing", {"name": "anna"}, ""),
    ("no metadata", {}, ""),
]


@pytest.mark.parametrize(
    ("metadata", "known"), [r[1:] for r in IDENTITIES], ids=[r[0] for r in IDENTITIES]
)
def test_identify(metadata, known):
    (change,) = play([at(0, "identify", **metadata), idle(20_000, 10_000)])
    assert change.pattern.identified == known


def test_identified_is_carried_by_later_patterns_only():
    stream = [idle(10_000, 10_000), at(11_000, "identify", id="anna"), idle(20_000, 20_000)]
    assert [change.pattern.identified for change in play(stream)] == ["", "anna"]


def test_an_open_attempt_knows_the_visitor_beyond_their_window():
    stream = [at(0, "identify", "/payment", id="anna"), at(1, "navigate", "/payment")]
    changes = play([*stream, at(400_000, "navigate", "/x"), idle(420_000, 10_000, "/x")])
    assert [change.pattern.identified for change in changes] == ["anna", "anna"]
