"""Verse with its shipped catalogue, and a shopper who can be sent part of the way."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from demo_store.models import Category, Product

ADDRESS = {
    "name": "Ada Long",
    "email": "ada@example.com",
    "line1": "12 Harbour Row",
    "line2": "",
    "city": "Bristol",
    "postcode": "bs1 4rn",
    "country": "GB",
    "delivery": "standard",
}
EXPIRY = f"07/{(timezone.localdate().year + 6) % 100:02}"
CARD = {"name_on_card": "Ada Q Cardholder", "number": "4242 4242 4242 4242", "expiry": EXPIRY}


class Shopper:
    """A browser's cookies, and the steps a person takes."""

    def __init__(self) -> None:
        self.client = Client()

    def get(self, path: str, **kwargs: Any) -> Any:
        return self.client.get(f"/demo{path}", **kwargs)

    def post(self, path: str, data: dict[str, object]) -> Any:
        return self.client.post(f"/demo{path}", data)

    def add(self, slug: str, quantity: object = 1, **labels: str) -> Any:
        """Add a product; `colour="Clay"` chooses by label, and what is not named is the first."""
        product = Product.objects.get(slug=slug)
        data: dict[str, object] = {"product": slug, "quantity": quantity}
        for kind, choices in product.choices_by_kind().items():
            wanted = labels.get(kind.lower())
            data[kind.lower()] = next(
                choice.pk for choice in choices if wanted in (None, choice.label)
            )
        return self.post("/cart/add", data)

    def fill_in(self, **changes: str) -> Any:
        return self.post("/checkout", {**ADDRESS, **changes})

    def card(self, **changes: str) -> dict[str, object]:
        """A good card, with the hidden fields of the payment page as it is now."""
        form = self.get("/payment").context["form"]
        hidden = {"attempt": form.attempt, "total": str(form.total)}
        return {**hidden, **CARD, "cvc": "123", **changes}

    def pay(self, **changes: str) -> Any:
        return self.post("/payment", self.card(**changes))


@pytest.fixture
def catalogue(db: None) -> None:
    """The shipped catalogue, also after a test that emptied the database."""
    if not Category.objects.exists():
        call_command("loaddata", "verse", verbosity=0)


@pytest.fixture
def shopper(catalogue: None) -> Shopper:
    return Shopper()


@pytest.fixture
def at_payment(shopper: Shopper) -> Shopper:
    """A shopper with a notebook in the cart and an address given."""
    shopper.add("margin-notebook")
    shopper.fill_in()
    return shopper


@pytest.fixture
def store_queries() -> Iterator["StoreQueries"]:
    with StoreQueries() as queries:
        yield queries


class StoreQueries(CaptureQueriesContext):
    """The queries of the shop's own tables, leaving out sessions and the tracker's site."""

    def __init__(self) -> None:
        super().__init__(connection)

    @property
    def own(self) -> list[str]:
        return [query["sql"] for query in self.captured_queries if '"demo_store_' in query["sql"]]
