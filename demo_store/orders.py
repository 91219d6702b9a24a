"""From a full cart to a stored order: the details given at checkout, and the placing."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction

from demo_store.cart import Cart, Line
from demo_store.delivery import METHOD, STANDARD, Method
from demo_store.models import Order, OrderItem

DETAILS_KEY = "verse_checkout"
ORDER_KEY = "verse_order"


@dataclass(frozen=True)
class Summary:
    """What a cart comes to with a way of delivery."""

    lines: list[Line]
    method: Method

    @property
    def count(self) -> int:
        return sum(line.quantity for line in self.lines)

    @property
    def subtotal(self) -> Decimal:
        return sum((line.total for line in self.lines), Decimal("0.00"))

    @property
    def delivery_cost(self) -> Decimal:
        return self.method.cost(self.subtotal)

    @property
    def total(self) -> Decimal:
        return self.subtotal + self.delivery_cost

    @property
    def free_from(self) -> Decimal | None:
        return STANDARD.free_from

    @property
    def to_free_delivery(self) -> Decimal:
        """How much is missing until standard delivery is free; zero once it is."""
        return max((STANDARD.free_from or Decimal(0)) - self.subtotal, Decimal("0.00"))


def details_of(session: SessionBase) -> dict[str, Any] | None:
    """What was given at checkout, with the id of the attempt; None before checkout."""
    return session.get(DETAILS_KEY)


def keep_details(session: SessionBase, details: dict[str, str]) -> None:
    """Keep the checkout's details; its attempt stays the same until an order is placed."""
    before = details_of(session) or {}
    session[DETAILS_KEY] = {**details, "attempt": before.get("attempt") or str(uuid.uuid4())}


def summarise(cart: Cart, details: dict[str, Any] | None) -> Summary:
    method = METHOD.get((details or {}).get("delivery", ""), STANDARD)
    return Summary(cart.lines(), method)


def place(session: SessionBase, summary: Summary, details: dict[str, Any]) -> Order:
    """Store the order of this attempt, once, and empty the cart.

    Two payments of one attempt may arrive side by side: the unique attempt decides which
    of them stores the order, and both go on to the same confirmation.
    """
    fields = {key: value for key, value in details.items() if key != "attempt"}
    amounts = {
        "subtotal": summary.subtotal,
        "delivery_cost": summary.delivery_cost,
        "total": summary.total,
    }
    with transaction.atomic():
        order, created = Order.objects.get_or_create(
            attempt=details["attempt"], defaults={**fields, **amounts}
        )
        if not created and _content(order.items.all()) != _content(summary.lines):
            # Another tab brought the attempt of an order back, with other things in the cart:
            # what was shown and paid is an order of its own.
            again = uuid.uuid5(order.attempt, repr(_content(summary.lines)))
            order, created = Order.objects.get_or_create(
                attempt=again, defaults={**fields, **amounts}
            )
        if created:
            OrderItem.objects.bulk_create(_item(order, line) for line in summary.lines)
    Cart(session).clear()
    session.pop(DETAILS_KEY, None)
    session[ORDER_KEY] = order.number
    return order


def placed(session: SessionBase, attempt: str | None = None) -> Order | None:
    """The order this session placed last; with `attempt`, only if it came of that attempt."""
    number = session.get(ORDER_KEY)
    if not number:
        return None
    order = Order.objects.with_items().filter(number=number).first()
    if order and attempt is not None and str(order.attempt) != attempt:
        return None
    return order


def _content(lines: Iterable[Line | OrderItem]) -> list[tuple[int, str, int]]:
    """What was bought, in an order that does not depend on how it was listed."""
    return sorted(
        (line.product.pk if line.product else 0, line.options[:200], line.quantity)
        for line in lines
    )


def _item(order: Order, line: Line) -> OrderItem:
    return OrderItem(
        order=order,
        product=line.product,
        name=line.product.name,
        options=line.options[:200],
        tint=line.tint,
        unit_price=line.unit_price,
        quantity=line.quantity,
    )
