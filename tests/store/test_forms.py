"""What the forms take and refuse: a table each."""

import datetime
from decimal import Decimal

import pytest
from django.utils import timezone

from demo_store.cards import TEST_CARDS, TestCard, passes_luhn
from demo_store.forms import CheckoutForm, PaymentForm
from tests.store.conftest import ADDRESS, CARD


@pytest.mark.parametrize(
    ("number", "good"),
    [
        ("4242424242424242", True),
        ("4242424242424241", False),
        ("79927398713", True),
        ("79927398710", False),
        ("0", True),
        ("18", True),
        ("81", False),
    ],
)
def test_luhn(number: str, good: bool) -> None:
    assert passes_luhn(number) is good


def test_every_test_card_has_its_check_digit() -> None:
    assert all(passes_luhn(card.number) for card in TEST_CARDS)


def payment(**changes: str) -> PaymentForm:
    data = {"attempt": "a", "total": "17.50", **CARD, "cvc": "123", **changes}
    return PaymentForm("a", Decimal("17.50"), data)


@pytest.mark.parametrize("card", TEST_CARDS, ids=lambda card: card.grouped)
def test_test_cards(card: TestCard) -> None:
    form = payment(number=card.grouped, cvc="1" * card.cvc_length)
    assert form.is_valid() is (not card.declined)


def test_a_valid_payment_holds_nothing_of_the_card() -> None:
    form = payment()
    assert form.is_valid()
    assert form.cleaned_data == {}


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("", "required"),
        ("    ", "required"),
        ("4242 4242 4242 424x", "digits"),
        ("٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢", "digits"),
        ("42424242424", "length"),
        ("42424242424242424242", "length"),
        ("4242424242424243", "luhn"),
        ("4111111111111111", "not_test"),
        ("4000000000000002", "declined"),
        ("4000000000009995", "declined"),
    ],
)
def test_numbers_refused(number: str, code: str) -> None:
    form = payment(number=number)
    assert [error.code for error in form.errors.as_data()["number"]] == [code]


@pytest.mark.parametrize(
    "number", ["4242424242424242", "4242-4242-4242-4242", " 42424242 42424242 "]
)
def test_numbers_may_be_written_as_people_do(number: str) -> None:
    assert payment(number=number).is_valid()


def month(ahead: int) -> str:
    """The month `ahead` of this one, as a card prints it."""
    today = timezone.localdate()
    index = today.year * 12 + today.month - 1 + ahead
    return datetime.date(index // 12, index % 12 + 1, 1).strftime("%m/%y")


@pytest.mark.parametrize(
    ("ahead", "errors"),
    [(-12, ["expired"]), (-1, ["expired"]), (0, []), (1, []), (12 * 19, []), (12 * 22, ["far"])],
)
def test_expiry_months(ahead: int, errors: list[str]) -> None:
    form = payment(expiry=month(ahead))
    assert [error.code for error in form.errors.as_data().get("expiry", [])] == errors


@pytest.mark.parametrize(
    "expiry", ["13/30", "00/30", "0430", "4-30", "04/2130", "04/3", "a/b", "١/٣٠"]
)
def test_expiries_that_are_none(expiry: str) -> None:
    assert [error.code for error in payment(expiry=expiry).errors.as_data()["expiry"]] == ["shape"]


@pytest.mark.parametrize("template", ["{m}/{y}", "{m} / {y}", "{m}/20{y}"])
def test_expiry_may_be_written_as_people_do(template: str) -> None:
    m, y = month(12).split("/")
    assert payment(expiry=template.format(m=m, y=y)).is_valid()


@pytest.mark.parametrize(
    ("number", "cvc", "good"),
    [
        ("4242424242424242", "123", True),
        ("4242424242424242", "000", True),
        ("4242424242424242", "12", False),
        ("4242424242424242", "1234", False),
        ("4242424242424242", "12a", False),
        ("4242424242424242", "", False),
        ("378282246310005", "1234", True),
        ("378282246310005", "123", False),
    ],
)
def test_security_codes(number: str, cvc: str, good: bool) -> None:
    assert payment(number=number, cvc=cvc).is_valid() is good


@pytest.mark.parametrize("changes", [{"total": "17.49"}, {"total": ""}, {"attempt": "b"}])
def test_a_page_that_showed_another_order(changes: dict[str, str]) -> None:
    assert payment(**changes).has_error("__all__", "changed")


@pytest.mark.parametrize(
    ("country", "postcode", "kept"),
    [
        ("GB", "sw1a 1aa", "SW1A 1AA"),
        ("GB", "  m1   1ae ", "M1 1AE"),
        ("GB", "CR26XH", "CR26XH"),
        ("GB", "12345", None),
        ("GB", "SW1A", None),
        ("IE", "d02 af30", "D02 AF30"),
        ("IE", "BS1 4RN", None),
        ("FR", "75001", "75001"),
        ("FR", "7500", None),
        ("DE", "01067", "01067"),
        ("DE", "1067", None),
        ("NL", "1012ab", "1012AB"),
        ("NL", "0012 AB", None),
    ],
)
def test_postcodes(country: str, postcode: str, kept: str | None) -> None:
    form = CheckoutForm({**ADDRESS, "country": country, "postcode": postcode})
    assert form.is_valid() is (kept is not None)
    assert form.cleaned_data.get("postcode") == kept


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"email": ""}, "email"),
        ({"email": "ada"}, "email"),
        ({"line1": ""}, "line1"),
        ({"line1": "x" * 121}, "line1"),
        ({"city": ""}, "city"),
        ({"postcode": ""}, "postcode"),
        ({"country": "XX"}, "country"),
        ({"country": ""}, "country"),
        ({"delivery": ""}, "delivery"),
        ({"delivery": "pigeon"}, "delivery"),
        ({"delivery": "next-day", "country": "FR", "postcode": "75001"}, "delivery"),
    ],
)
def test_details_refused(changes: dict[str, str], field: str) -> None:
    form = CheckoutForm({**ADDRESS, **changes})
    assert not form.is_valid()
    assert list(form.errors) == [field]


def test_details_taken() -> None:
    assert CheckoutForm(ADDRESS).is_valid()
    assert CheckoutForm({**ADDRESS, "line2": "Flat 2", "delivery": "next-day"}).is_valid()
