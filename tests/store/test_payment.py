"""Paying: one order however often it is sent, and no trace of a card anywhere."""

import logging
import re
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.contrib.sessions.models import Session
from django.core import serializers
from django.test import Client

from demo_store import cards
from demo_store.cart import SESSION_KEY
from demo_store.models import Order, OrderItem, Product
from demo_store.orders import DETAILS_KEY, ORDER_KEY
from tests.store.conftest import EXPIRY, Shopper, StoreQueries

NUMBER = "4242424242424242"
TRACES = (NUMBER, "4242 4242 4242 4242", "4242", "Cardholder", EXPIRY, "913")


def test_a_test_card_places_the_order(at_payment: Shopper) -> None:
    answer = at_payment.pay()
    assert (answer.status_code, answer["Location"]) == (302, "/demo/confirm")
    order = Order.objects.get()
    assert (order.name, order.postcode, order.total) == ("Ada Long", "BS1 4RN", Decimal("17.50"))
    item = order.items.get()
    assert (item.name, item.options, item.quantity) == ("Margin notebook", "Sky, Ruled", 1)
    assert item.unit_price == Decimal("13.00")


def test_afterwards_the_cart_is_empty(at_payment: Shopper) -> None:
    at_payment.pay()
    assert at_payment.client.session[SESSION_KEY] == {}
    assert DETAILS_KEY not in at_payment.client.session


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"number": "4111 1111 1111 1111"}, "That is not a test card."),
        ({"number": "4242 4242 4242 4241"}, "mistyped"),
        ({"number": "4000 0000 0000 0002"}, "The bank declined this card."),
        ({"expiry": "01/20"}, "That card has expired."),
        ({"cvc": "12"}, "The security code has 3 digits."),
        ({"name_on_card": ""}, "Give the name as it is on the card."),
    ],
)
def test_a_bad_card_is_refused_and_nothing_ordered(
    at_payment: Shopper, changes: dict[str, str], message: str
) -> None:
    answer = at_payment.pay(**changes)
    assert answer.status_code == 200
    assert message in answer.content.decode()
    assert not Order.objects.exists()
    assert at_payment.client.session[SESSION_KEY]


def test_the_card_is_never_written_back(at_payment: Shopper) -> None:
    page = at_payment.pay(number="4242 4242 4242 4241", expiry="01/20", cvc="9138").content.decode()
    for typed in ("4242 4242 4242 4241", "01/20", "9138"):
        assert f'value="{typed}"' not in page


@pytest.fixture
def everything_logged() -> Iterator[list[str]]:
    """Every record of every logger, as it would be written."""
    lines: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record) + repr(record.__dict__.get("args")))

    handler, root = Collect(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize("number", ["4242 4242 4242 4242", "4242 4242 4242 4241"])
def test_no_part_of_a_card_is_kept_anywhere(
    at_payment: Shopper,
    everything_logged: list[str],
    store_queries: StoreQueries,
    capfd: pytest.CaptureFixture[str],
    number: str,
) -> None:
    at_payment.pay(number=number, cvc="913")
    at_payment.get("/confirm")
    kept = [
        serializers.serialize("json", model._default_manager.all())
        for model in apps.get_models()
        if model is not Session and model._meta.managed
    ]
    kept += [repr(session.get_decoded()) for session in Session.objects.all()]
    kept += [str(at_payment.client.cookies), *everything_logged, *capfd.readouterr()]
    kept += [query["sql"] for query in store_queries.captured_queries]
    text = _without_chance("\n".join(kept))
    assert [t for t in (*TRACES, number) if re.search(rf"(?<!\d){re.escape(t)}(?!\d)", text)] == []


def _without_chance(text: str) -> str:
    """The text less what holds any digits by chance: random tokens and fractions of a second."""
    text = re.sub(r"(:\d\d)[.,]\d+", r"\1", text)
    words = text.replace("'", " ").replace('"', " ").replace("=", " ").replace(";", " ").split()
    return " ".join(word for word in words if len(word) < 20 or word.isdigit())


def test_not_even_the_debug_page_shows_a_card(
    at_payment: Shopper, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DEBUG = True
    data = at_payment.card(cvc="913")

    def fail(number: str) -> bool:
        raise RuntimeError("the bank's computer is on fire")

    monkeypatch.setattr(cards, "passes_luhn", fail)
    at_payment.client.raise_request_exception = False
    answer = at_payment.post("/payment", data)
    page = answer.content.decode()
    assert answer.status_code == 500
    assert "on fire" in page
    assert [
        trace for trace in (NUMBER, "4242 4242 4242 4242", "Cardholder", EXPIRY) if trace in page
    ] == []


def test_the_same_payment_twice_is_one_order(at_payment: Shopper) -> None:
    data = at_payment.card()
    first = at_payment.post("/payment", data)
    second = at_payment.post("/payment", data)
    assert first["Location"] == second["Location"] == "/demo/confirm"
    assert (Order.objects.count(), OrderItem.objects.count()) == (1, 1)


def test_the_same_payment_side_by_side_is_one_order(at_payment: Shopper) -> None:
    data = at_payment.card()
    session = at_payment.client.session
    before = dict(session.items())
    at_payment.post("/payment", data)
    number = at_payment.client.session[ORDER_KEY]
    # The second request had read its session before the first one wrote it.
    session = at_payment.client.session
    session.clear()
    session.update(before)
    session.save()
    assert at_payment.post("/payment", data)["Location"] == "/demo/confirm"
    assert Order.objects.get().number == number
    assert OrderItem.objects.count() == 1
    assert at_payment.client.session[ORDER_KEY] == number


def test_the_next_order_is_another_order(at_payment: Shopper) -> None:
    at_payment.pay()
    at_payment.add("chapter-mug")
    at_payment.fill_in()
    at_payment.pay()
    assert Order.objects.count() == 2


def test_a_total_that_has_changed_is_shown_before_it_is_paid(at_payment: Shopper) -> None:
    data = at_payment.card()
    Product.objects.filter(slug="margin-notebook").update(price=Decimal("14.00"))
    page = at_payment.post("/payment", data).content.decode()
    assert "Your order has changed since this page was opened." in page
    assert "Pay £18.50" in page
    assert not Order.objects.exists()
    assert at_payment.pay()["Location"] == "/demo/confirm"


@pytest.mark.parametrize("attempt", ["", "x", str(uuid.uuid4())])
def test_a_payment_of_another_attempt_is_not_taken(at_payment: Shopper, attempt: str) -> None:
    assert at_payment.pay(attempt=attempt).status_code == 200
    assert not Order.objects.exists()


def test_payment_without_details_goes_back_to_checkout(shopper: Shopper) -> None:
    shopper.add("chapter-mug")
    for answer in (shopper.get("/payment"), shopper.post("/payment", {"number": NUMBER})):
        assert answer["Location"] == "/demo/checkout"
    assert "First tell us where to send it." in shopper.get("/checkout").content.decode()


@pytest.mark.parametrize("method", ["get", "post"])
def test_payment_without_a_cart_goes_back_to_the_cart(shopper: Shopper, method: str) -> None:
    answer = getattr(shopper.client, method)("/demo/payment")
    assert answer["Location"] == "/demo/cart"


def test_payment_needs_the_csrf_token(at_payment: Shopper) -> None:
    data = at_payment.card()
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = at_payment.client.cookies
    assert strict.post("/demo/payment", data).status_code == 403
    assert not Order.objects.exists()


def test_the_logo_is_a_way_out(at_payment: Shopper) -> None:
    assert '<a class="logo" href="/demo/home">' in at_payment.get("/payment").content.decode()


def test_payment_offers_the_test_cards_and_no_autocomplete(at_payment: Shopper) -> None:
    answer = at_payment.get("/payment")
    page = answer.content.decode()
    assert "<summary>Show the test cards</summary>" in page
    assert "4242 4242 4242 4242" in page
    assert page.count('autocomplete="off"') >= 5
    assert "no-store" in answer["Cache-Control"]


def test_the_confirmation_shows_the_order(at_payment: Shopper, store_queries: StoreQueries) -> None:
    at_payment.pay()
    before = len(store_queries.own)
    page = at_payment.get("/confirm").content.decode()
    order = Order.objects.get()
    for text in (order.number, "ada@example.com", "Margin notebook", "Sky, Ruled", "£17.50"):
        assert text in page
    assert len(store_queries.own) - before - 1 == 5  # order, items, products, categories, shelves


def test_the_confirmation_can_be_reloaded(at_payment: Shopper) -> None:
    at_payment.pay()
    assert at_payment.get("/confirm").content.count(b"Thank you") > 0
    assert at_payment.get("/confirm").status_code == 200


def test_the_confirmation_outlives_its_product(at_payment: Shopper) -> None:
    at_payment.pay()
    Product.objects.filter(slug="margin-notebook").delete()
    assert "Margin notebook" in at_payment.get("/confirm").content.decode()


def test_without_an_order_there_is_no_confirmation(shopper: Shopper) -> None:
    assert shopper.get("/confirm")["Location"] == "/demo/cart"
    assert "There is no order to show yet." in shopper.get("/cart").content.decode()


def test_nobody_sees_anothers_order(at_payment: Shopper) -> None:
    data = at_payment.card()
    at_payment.post("/payment", data)
    stranger = Shopper()
    assert stranger.get("/confirm")["Location"] == "/demo/cart"
    assert stranger.post("/payment", data)["Location"] == "/demo/cart"
