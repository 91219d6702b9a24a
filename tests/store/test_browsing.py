"""Home, catalogue, product and the shop's 404."""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils.html import escape

from demo_store.models import Category, Product
from tests.store.conftest import Shopper, StoreQueries


@pytest.mark.parametrize("path", ["", "/"])
def test_the_bare_address_leads_home(shopper: Shopper, path: str) -> None:
    answer = shopper.get(path)
    assert (answer.status_code, answer["Location"]) == (302, "/demo/home")


def test_home_shows_the_featured_products(shopper: Shopper) -> None:
    page = shopper.get("/home").content.decode()
    for product in Product.objects.filter(featured=True):
        assert escape(product.name) in page
        assert product.get_absolute_url() in page


def test_home_asks_the_database_twice(shopper: Shopper, store_queries: StoreQueries) -> None:
    shopper.get("/home")
    assert len(store_queries.own) == 2  # shelves, featured products


def test_the_catalogue_shows_everything(shopper: Shopper) -> None:
    answer = shopper.get("/products")
    assert len(answer.context["products"]) == Product.objects.count() >= 18
    assert f"{Product.objects.count()} products" in answer.content.decode()


def test_the_catalogue_asks_the_database_twice(
    shopper: Shopper, store_queries: StoreQueries
) -> None:
    shopper.get("/products")
    assert len(store_queries.own) == 2


def test_a_category_shows_its_own_products_only(
    shopper: Shopper, store_queries: StoreQueries
) -> None:
    answer = shopper.get("/products?category=light")
    assert {product.category.slug for product in answer.context["products"]} == {"light"}
    assert "<h1>Light</h1>" in answer.content.decode()
    assert len(store_queries.own) == 3


def test_an_empty_category_says_so(shopper: Shopper) -> None:
    Category.objects.create(slug="maps", name="Maps", blurb="To get lost with.")
    assert "empty at the moment" in shopper.get("/products?category=maps").content.decode()


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("price-low", lambda product: (product.price, product.name)),
        ("price-high", lambda product: (-product.price, product.name)),
        ("name", lambda product: product.name),
    ],
)
def test_sorting(shopper: Shopper, sort: str, key: Callable[[Product], Any]) -> None:
    products = list(shopper.get(f"/products?sort={sort}").context["products"])
    assert products == sorted(products, key=key)


def test_an_unknown_sort_is_the_shops_own_order(shopper: Shopper) -> None:
    usual = shopper.get("/products").context["products"]
    answer = shopper.get("/products?sort=%3Cscript%3E")
    assert list(answer.context["products"]) == list(usual)
    assert answer.context["sort"] == "featured"


def test_sorting_keeps_the_category(shopper: Shopper) -> None:
    page = shopper.get("/products?category=tea&sort=name").content.decode()
    assert 'href="?category=tea&amp;sort=price-low"' in page


def test_a_product_page_offers_its_choices(shopper: Shopper) -> None:
    page = shopper.get("/product/tern-fountain-pen").content.decode()
    for text in (
        "Tern fountain pen",
        "£46.00",
        "Colour",
        "Nib",
        "Oblique",
        "+£6.00",
        "Add to cart",
    ):
        assert text in page


def test_a_product_page_asks_the_database_four_times(
    shopper: Shopper, store_queries: StoreQueries
) -> None:
    shopper.get("/product/margin-notebook")
    assert len(store_queries.own) == 4  # product, choices, beside it, shelves


def test_beside_a_product_are_others(shopper: Shopper) -> None:
    answer = shopper.get("/product/chapter-mug")
    beside = answer.context["beside"]
    assert len(beside) == 4
    assert answer.context["product"] not in beside
    assert {product.category.slug for product in beside[:3]} == {"tea"}


@pytest.mark.parametrize(
    "path",
    [
        "/product/no-such-thing",
        "/products?category=no-such-shelf",
        "/products?category=%00",
        "/products/old",
        "/home/",
        "/anything/else",
    ],
)
def test_what_is_not_there_is_a_404_that_looks_like_the_shop(shopper: Shopper, path: str) -> None:
    answer = shopper.get(path)
    assert answer.status_code == 404
    assert "This page is missing." in answer.content.decode()
    assert 'class="logo"' in answer.content.decode()


def test_an_unlisted_product_cannot_be_found_or_seen(shopper: Shopper) -> None:
    Product.objects.filter(slug="chapter-mug").update(listed=False)
    assert shopper.get("/product/chapter-mug").status_code == 404
    assert "chapter-mug" not in shopper.get("/products").content.decode()


def test_a_product_with_an_unknown_drawing_shows_a_parcel(shopper: Shopper) -> None:
    Product.objects.filter(slug="chapter-mug").update(art="not-drawn-yet")
    answer = shopper.get("/product/chapter-mug")
    assert answer.status_code == 200
    assert answer.content.decode().count('<svg class="drawing"') == 5


@pytest.mark.parametrize("path", ["/home", "/products", "/product/chapter-mug", "/search"])
def test_pages_to_look_at_refuse_post(shopper: Shopper, path: str) -> None:
    assert shopper.post(path, {}).status_code == 405
