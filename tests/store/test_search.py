"""Finding things, finding nothing, and text that wants to be markup."""

import pytest

from tests.store.conftest import Shopper, StoreQueries


def found(shopper: Shopper, query: str) -> set[str]:
    return {
        product.slug for product in shopper.get("/search", data={"q": query}).context["products"]
    }


@pytest.mark.parametrize(
    ("query", "slug"),
    [
        ("Meridian", "meridian-desk-lamp"),
        ("mErIdIaN", "meridian-desk-lamp"),
        ("lamps", "dusk-table-lamp"),
        ("mushroom", "dusk-table-lamp"),
        ("shetland", "long-evening-throw"),
        ("reading room", "perch-side-table"),
        ("  desk   lamp ", "meridian-desk-lamp"),
        ("lamp light", "halo-floor-lamp"),
    ],
)
def test_finds_by_name_tagline_description_and_category(
    shopper: Shopper, query: str, slug: str
) -> None:
    assert slug in found(shopper, query)


def test_every_word_must_fit(shopper: Shopper) -> None:
    assert found(shopper, "lamp shetland") == set()


def test_those_that_are_called_so_come_first(shopper: Shopper) -> None:
    products = shopper.get("/search?q=lamp").context["products"]
    named = ["lamp" in product.name.lower() for product in products]
    assert named == sorted(named, reverse=True)
    assert named[0]


@pytest.mark.parametrize("query", ["", "   "])
def test_an_empty_search_invites(shopper: Shopper, query: str) -> None:
    page = shopper.get("/search", data={"q": query}).content.decode()
    assert "What are you looking for?" in page
    assert "/demo/search?q=lamp" in page


def test_without_a_query_at_all(shopper: Shopper) -> None:
    assert shopper.get("/search").status_code == 200


def test_nothing_found_helps_on(shopper: Shopper) -> None:
    answer = shopper.get("/search?q=zebra")
    assert answer.status_code == 200
    assert "Nothing for “zebra”" in answer.content.decode()
    assert len(answer.context["popular"]) == 4


def test_every_suggestion_finds_something(shopper: Shopper) -> None:
    for word in shopper.get("/search").context["suggestions"]:
        assert found(shopper, word), word


@pytest.mark.parametrize(
    "query", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7|add:7 }}"]
)
def test_markup_in_a_search_stays_text(shopper: Shopper, query: str) -> None:
    page = shopper.get("/search", data={"q": query}).content.decode()
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "{{ 7|add:7 }}" in page or "&lt;" in page


@pytest.mark.parametrize("query", ["x" * 81, "null\0byte"])
def test_what_cannot_be_searched_for_is_no_error(shopper: Shopper, query: str) -> None:
    answer = shopper.get("/search", data={"q": query})
    assert answer.status_code == 200
    assert not answer.context["products"]


@pytest.mark.parametrize("query", ["%", "_", "100%", "'; DROP TABLE x; --", "\\"])
def test_signs_of_the_database_are_ordinary_text(shopper: Shopper, query: str) -> None:
    assert len(found(shopper, query)) < 5


def test_a_search_asks_the_database_twice(shopper: Shopper, store_queries: StoreQueries) -> None:
    shopper.get("/search?q=lamp")
    assert len(store_queries.own) == 2
