"""Rows: one fragment for the page and the stream, whatever is in a pattern."""

import pytest
from django.test import Client

from dashboard.feed import encode_rows, render_row
from detection import resolution
from detection.engine.patterns import ChangeKind, Severity
from detection.models import Pattern
from tests.dashboard.factories import (
    START,
    change,
    changes_after,
    found,
    step,
    store_pattern,
    store_patterns,
)
from tests.dashboard.markup import Markup

EVIL = "<script>alert(1)</script>\"'&"


def test_page_and_stream_send_the_same_html(board: Client) -> None:
    store_patterns(3)
    resolution.resolve("p001", by="rita")
    html = board.get("/").content.decode()
    changes = changes_after()
    for one in changes:
        row = render_row(one.pattern)
        assert row in html
        assert row in encode_rows([one])
    assert "".join(render_row(p) for p in Pattern.objects.newest_first()) in html


@pytest.mark.django_db
def test_several_steps_of_a_pattern_are_one_row() -> None:
    store_pattern("a")
    store_pattern("b", detected_at=1000)
    change(ChangeKind.ESCALATED, found("a", severity=Severity.MEDIUM), after=5000)
    resolution.resolve("a")
    rows = Markup(encode_rows(changes_after()))
    assert rows.rows == ["a", "b"]
    assert [row["data-state"] for row in rows.all("li", class_="pattern")] == ["resolved", "open"]
    assert rows.all("li", class_="pattern")[0]["data-severity"] == "medium"


@pytest.mark.django_db
def test_the_pinned_alert_comes_along_when_it_changed() -> None:
    store_pattern("older")
    store_pattern("newer", detected_at=1000)
    sent = Markup(encode_rows(changes_after(1)))
    assert sent.all(hx_swap_oob="innerHTML:#latest")
    assert sent.all("div", class_="alert")[0]["data-pattern-id"] == "newer"


@pytest.mark.django_db
def test_the_pinned_alert_stays_when_another_pattern_is_resolved() -> None:
    store_pattern("older")
    store_pattern("newer", detected_at=1000)
    resolution.resolve("older")
    assert not Markup(encode_rows(changes_after(2))).all(hx_swap_oob="innerHTML:#latest")


@pytest.mark.django_db
def test_resolving_the_pinned_alert_shows_in_it() -> None:
    store_pattern("only")
    resolution.resolve("only", by="rita")
    sent = Markup(encode_rows(changes_after(1)))
    assert sent.all("div", class_="alert")[0]["data-state"] == "resolved"
    assert "Resolved by rita" in sent.text


def test_a_visitor_can_put_no_markup_into_it(board: Client) -> None:
    store_pattern(
        "evil",
        user_id=EVIL,
        identified=EVIL,
        type=EVIL[:40],
        page=EVIL,
        explanation=EVIL,
        evidence={"facts": {}, "events": [step(EVIL, EVIL, 0, **{EVIL: EVIL, "items": "x"})]},
    )
    resolution.resolve("evil", by=EVIL, note=EVIL)
    html = board.get("/", {"visitor": EVIL, "q": EVIL, "type": EVIL}).content.decode()
    html += board.get("/").content.decode() + encode_rows(changes_after())
    assert "<script>" not in html
    row = Markup(encode_rows(changes_after())).all("li", class_="pattern")[0]
    assert row["data-type"] == EVIL[:40]
    assert row["data-search"] is not None
    assert EVIL in row["data-search"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "evidence",
    [{}, {"events": None}, {"events": [1, None]}, {"events": [{"action": "idle"}]}, [], "text"],
)
def test_evidence_of_another_shape_is_no_trouble(evidence: object) -> None:
    store_pattern("odd")
    Pattern.objects.filter(pk="odd").update(evidence=evidence)
    assert "Hesitation" in Markup(encode_rows(changes_after())).text


@pytest.mark.django_db
def test_evidence_is_told_in_order_and_in_words() -> None:
    events = [
        step("navigate", "/cart"),
        step("idle", "/checkout", 5000, duration_ms="12000"),
        step("rage-click", "/checkout", 2**60),
    ]
    store_pattern("a", evidence={"facts": {}, "events": events})
    text = " ".join(Markup(encode_rows(changes_after())).text.split())
    assert "Evidence 3 events" in text
    first = text.index("Navigation /cart")
    second = text.index("Idle /checkout duration 12 s")
    assert first < second < text.index("Rage click /checkout")


@pytest.mark.django_db
def test_long_evidence_shows_the_steps_that_led_to_it() -> None:
    events = [step("click", f"/page-{number}", number) for number in range(15)]
    store_pattern("a", evidence={"facts": {}, "events": events})
    row = Markup(encode_rows(changes_after()))
    assert "3 earlier events not shown here." in row.text
    assert "/page-2 " not in row.text
    assert "/page-14" in row.text


@pytest.mark.django_db
def test_times_are_exact_and_the_same_for_everyone() -> None:
    store_pattern("a")
    times = Markup(encode_rows(changes_after())).all("time")
    assert {time["datetime"] for time in times} == {"2025-10-09T08:53:20.000Z"}
    assert START == 1_760_000_000_000


@pytest.mark.django_db
def test_a_recovered_pattern_says_so_and_cannot_be_reopened() -> None:
    store_pattern("a", type="abandonment", severity=Severity.HIGH)
    change(ChangeKind.RECOVERED, found("a", type="abandonment", severity=Severity.HIGH), 60_000)
    row = Markup(encode_rows(changes_after(1)))
    assert row.all("li", class_="pattern")[0]["data-state"] == "recovered"
    assert "Recovered" in row.text
    assert not row.all("button")


@pytest.mark.django_db
def test_a_visitor_is_linked_whatever_their_id() -> None:
    store_pattern("a", user_id="a/b ?&#ü🙂")
    link = Markup(encode_rows(changes_after())).all("a", class_="visitor-link")[0]
    assert link["href"] == "/?visitor=a%2Fb%20%3F%26%23%C3%BC%F0%9F%99%82"
    assert link["data-visitor"] == "a/b ?&#ü🙂"
