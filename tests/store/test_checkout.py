"""The delivery form as a page: who may see it, what it keeps, what it says."""

import pytest

from demo_store.models import Order
from demo_store.orders import DETAILS_KEY
from tests.store.conftest import Shopper, StoreQueries


def test_good_details_lead_to_payment(shopper: Shopper) -> None:
    shopper.add("chapter-mug")
    answer = shopper.fill_in()
    assert (answer.status_code, answer["Location"]) == (302, "/demo/payment")
    assert shopper.client.session[DETAILS_KEY]["postcode"] == "BS1 4RN"


def test_bad_details_come_back_with_what_was_typed(shopper: Shopper) -> None:
    shopper.add("chapter-mug")
    answer = shopper.fill_in(email="ada@", city="")
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "2 things need another look" in page
    assert 'value="ada@"' in page
    assert 'value="12 Harbour Row"' in page
    assert DETAILS_KEY not in shopper.client.session


def test_an_error_is_tied_to_its_field(shopper: Shopper) -> None:
    shopper.add("chapter-mug")
    page = shopper.fill_in(city="").content.decode()
    assert 'aria-invalid="true"' in page
    assert 'aria-describedby="id_city_error"' in page
    assert 'id="id_city_error"' in page
    assert 'href="#id_city"' in page


def test_an_empty_post_is_answered_with_errors(shopper: Shopper) -> None:
    shopper.add("chapter-mug")
    assert "things need another look" in shopper.post("/checkout", {}).content.decode()


def test_an_empty_cart_has_no_checkout(shopper: Shopper) -> None:
    answer = shopper.get("/checkout")
    assert (answer.status_code, answer["Location"]) == (302, "/demo/cart")
    assert "Your cart is empty. Put something in it first." in shopper.get("/cart").content.decode()


def test_coming_back_finds_the_details_filled_in(at_payment: Shopper) -> None:
    assert 'value="Ada Long"' in at_payment.get("/checkout").content.decode()


def test_changing_the_details_keeps_the_attempt(at_payment: Shopper) -> None:
    before = at_payment.client.session[DETAILS_KEY]["attempt"]
    at_payment.fill_in(city="Bath")
    after = at_payment.client.session[DETAILS_KEY]
    assert (after["attempt"], after["city"]) == (before, "Bath")


@pytest.mark.parametrize(
    ("delivery", "quantity", "total"),
    [
        ("standard", 1, "£20.50"),
        ("standard", 4, "£64.00"),
        ("next-day", 1, "£25.50"),
        ("next-day", 4, "£73.50"),
    ],
)
def test_the_total_follows_the_delivery(
    shopper: Shopper, delivery: str, quantity: int, total: str
) -> None:
    shopper.add("chapter-mug", quantity)
    shopper.fill_in(delivery=delivery)
    assert f"Pay {total}" in shopper.get("/payment").content.decode()


def test_markup_in_a_name_stays_text(shopper: Shopper) -> None:
    shopper.add("chapter-mug")
    page = shopper.fill_in(name="<script>alert(1)</script>", city="").content.decode()
    assert "<script>alert" not in page


def test_nothing_is_ordered_yet(at_payment: Shopper) -> None:
    assert not Order.objects.exists()


def test_checkout_is_not_kept_by_browsers(shopper: Shopper) -> None:
    shopper.add("chapter-mug")
    assert "no-store" in shopper.get("/checkout")["Cache-Control"]


def test_checkout_asks_the_database_three_times(
    at_payment: Shopper, store_queries: StoreQueries
) -> None:
    at_payment.get("/checkout")
    assert len(store_queries.own) == 3
