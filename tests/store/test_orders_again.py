"""An attempt that another tab brings back, with other things in the cart."""

import uuid
from typing import Any

import pytest
from django.contrib.sessions.backends.cache import SessionStore

from demo_store import orders
from demo_store.cart import Line
from demo_store.delivery import STANDARD
from demo_store.models import Order, Product

DETAILS: dict[str, Any] = {
    "name": "Ada Reader",
    "email": "ada@example.com",
    "line1": "1 Paper Lane",
    "line2": "",
    "city": "Bath",
    "postcode": "BA1 1AA",
    "country": "GB",
    "delivery": "standard",
}


@pytest.mark.django_db
def test_other_things_are_another_order_and_the_same_are_not() -> None:
    details = DETAILS | {"attempt": str(uuid.uuid4())}
    one, other = Product.objects.all()[:2]

    def pay(product: Product) -> Order:
        line = Line(key="k", product=product, choices=(), quantity=1)
        return orders.place(SessionStore(), orders.Summary([line], STANDARD), details)

    first = pay(one)
    assert pay(one) == first
    second = pay(other)
    assert second != first
    assert pay(other) == second
    assert [item.product for item in second.items.all()] == [other]
    assert Order.objects.count() == 2
