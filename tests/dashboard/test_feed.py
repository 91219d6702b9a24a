"""GET /feed: filters, pages, and the repair after a lost connection."""

import pytest
from django.test import Client

from dashboard.feed import MOST_ROWS, PAGE_ROWS, cursor_of
from detection.engine.patterns import Severity
from tests.dashboard.factories import store_pattern, store_patterns
from tests.dashboard.markup import Markup


def feed(client: Client, query: str = "") -> Markup:
    response = client.get(f"/feed{query}")
    assert response.status_code == 200
    return Markup(response.content.decode())


@pytest.fixture
def three(db: None) -> None:
    store_pattern("idle-low", user_id="Ümit/1", page="/checkout")
    store_pattern("idle-high", severity=Severity.HIGH, page="/payment", detected_at=1)
    store_pattern("loop-high", type="navigation-loop", severity=Severity.HIGH, detected_at=2)


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("", ["loop-high", "idle-high", "idle-low"]),
        ("?severity=high", ["loop-high", "idle-high"]),
        ("?type=hesitation", ["idle-high", "idle-low"]),
        ("?type=hesitation&severity=high", ["idle-high"]),
        ("?q=%C3%9CMIT", ["idle-low"]),
        ("?q=%20%20/Payment%20", ["idle-high"]),
        ("?q=for+loop-high", ["loop-high"]),
        ("?q=high&type=hesitation", ["idle-high"]),
        ("?q=100%25", []),
        ("?type=unheard-of", []),
        ("?severity=enormous", ["loop-high", "idle-high", "idle-low"]),
        ("?q=%00", ["loop-high", "idle-high", "idle-low"]),
    ],
)
def test_filters(fragments: Client, query: str, rows: list[str]) -> None:
    assert feed(fragments, query).rows == rows


@pytest.mark.usefixtures("three")
def test_the_feed_carries_its_filters_as_rows_are_compared_with_them(fragments: Client) -> None:
    found = feed(fragments, "?severity=high&type=hesitation&q=%20%C3%9CMIT%20%20X%20")
    assert found.all(id="feed")[0] == {
        "id": "feed",
        "class": "feed",
        "data-type": "hesitation",
        "data-severity": "high",
        "data-q": "ümit x",
    }


@pytest.mark.usefixtures("three")
def test_a_row_carries_what_it_is_searched_by(fragments: Client) -> None:
    row = feed(fragments, "?q=idle-low").all("li", class_="pattern")[0]
    assert row["data-type"] == "hesitation"
    assert row["data-severity"] == "low"
    assert row["data-search"] is not None
    assert row["data-search"].splitlines() == [
        "ümit/1",
        "",
        "/checkout",
        "this visitor was idle on /checkout for idle-low.",
    ]


@pytest.mark.django_db
def test_nothing_found_says_so_and_offers_the_way_back(fragments: Client) -> None:
    found = feed(fragments, "?q=zebra")
    assert "Nothing matches." in found.text
    assert "hidden" not in found.all("div", class_="empty")[0]
    assert "hidden" in feed(fragments).all("li", class_="more")[0]


@pytest.mark.django_db
def test_pages_follow_each_other_without_gap_or_double(fragments: Client) -> None:
    patterns = store_patterns(2 * PAGE_ROWS + 3)
    seen: list[str | None] = []
    query = "?type=hesitation"
    while True:
        page = feed(fragments, query)
        seen += page.rows
        if "hidden" in page.all("li", class_="more")[0]:
            break
        query = f"?type=hesitation&before={page.all('input', name='before')[0]['value']}"
    assert seen == [pattern.pattern_id for pattern in patterns]


@pytest.mark.django_db
def test_a_page_goes_on_after_a_pattern_that_was_erased(fragments: Client) -> None:
    patterns = store_patterns(4)
    place = cursor_of(patterns[1])
    patterns[1].delete()
    assert feed(fragments, f"?before={place}").rows == ["p001", "p000"]


@pytest.mark.django_db
def test_patterns_of_one_moment_are_paged_by_their_ids(fragments: Client) -> None:
    first, second, third = (store_pattern(name) for name in ("c-3", "b-2", "a-1"))
    assert feed(fragments).rows == ["c-3", "b-2", "a-1"]
    assert feed(fragments, f"?before={cursor_of(first)}").rows == ["b-2", "a-1"]
    assert feed(fragments, f"?before={cursor_of(second)}").rows == ["a-1"]
    assert feed(fragments, f"?before={cursor_of(third)}").rows == []


@pytest.mark.usefixtures("figures")
def test_a_page_that_reconnects_gets_everything_that_may_have_changed(fragments: Client) -> None:
    store_patterns(PAGE_ROWS + 10)
    found = feed(fragments, f"?resync=1&rows={PAGE_ROWS + 5}")
    assert len(found.rows) == PAGE_ROWS + 5
    targets = {e["hx-swap-oob"] for _, e in found.elements if "hx-swap-oob" in e}
    assert targets == {"innerHTML:#latest", "innerHTML:#metrics", "innerHTML:#sessions"}
    assert "12,345" in found.text


@pytest.mark.django_db
def test_no_request_gets_endless_rows(fragments: Client) -> None:
    store_patterns(MOST_ROWS + 1)
    assert len(feed(fragments, "?resync=1&rows=100000").rows) == MOST_ROWS


@pytest.mark.django_db
@pytest.mark.parametrize("query", ["before=x", "before=99999999999999999999-a", "rows=few"])
def test_nonsense_is_refused(fragments: Client, query: str) -> None:
    assert fragments.get(f"/feed?{query}").status_code == 400


@pytest.mark.django_db
def test_choosing_a_filter_makes_a_place_to_go_back_to(fragments: Client) -> None:
    here = {"HX-Current-URL": "http://testserver/?q=a"}
    response = fragments.get("/feed?q=a&type=&severity=low&visitor=v%2F1", headers=here)
    assert response["HX-Push-Url"] == "/?severity=low&q=a&visitor=v%2F1"


@pytest.mark.django_db
def test_typing_makes_one_place_not_many(fragments: Client) -> None:
    here = {"HX-Current-URL": "http://testserver/?q=a"}
    response = fragments.get("/feed?q=ab", headers=here)
    assert response["HX-Replace-Url"] == "/?q=ab"
    assert "HX-Push-Url" not in response


@pytest.mark.django_db
def test_strangers_get_no_fragment(client: Client) -> None:
    assert client.get("/feed", headers={"HX-Request": "true"}).status_code == 403
    assert client.get("/visitor?visitor=x", headers={"HX-Request": "true"}).status_code == 403
    assert client.get("/stream", headers={"HX-Request": "true"}).status_code == 403
