"""The cart, kept in the session as `{"12-40-43": 2}`: product 12 with choices 40 and 43, twice.

Names and prices are read from the database each time, so a cart never shows an old price.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.contrib.sessions.backends.base import SessionBase

from demo_store.models import Choice, Product

SESSION_KEY = "verse_cart"
MAX_QUANTITY = 20
MAX_LINES = 30


@dataclass(frozen=True)
class Line:
    """One product with its choices, so many times."""

    key: str
    product: Product
    choices: tuple[Choice, ...]
    quantity: int

    @property
    def unit_price(self) -> Decimal:
        return self.product.price + sum((c.extra for c in self.choices), Decimal(0))

    @property
    def total(self) -> Decimal:
        return self.unit_price * self.quantity

    @property
    def options(self) -> str:
        return ", ".join(choice.label for choice in self.choices)

    @property
    def tint(self) -> str:
        """The colour it is drawn in: the one chosen, else the product's own."""
        return next((choice.tint for choice in self.choices if choice.tint), self.product.tint)


class CartFullError(Exception):
    """The cart holds as many different things as it may."""


class Cart:
    """The cart of one session."""

    def __init__(self, session: SessionBase) -> None:
        self.session = session
        self.quantities: dict[str, int] = dict(session.get(SESSION_KEY, {}))
        self.dropped = False

    @property
    def count(self) -> int:
        """How many pieces are in it; needs no query."""
        return sum(self.quantities.values())

    def add(self, product: Product, choices: Iterable[Choice], quantity: int) -> int:
        """Put `quantity` more in, up to MAX_QUANTITY a line; how many were really added."""
        key = "-".join(str(pk) for pk in [product.pk, *sorted(c.pk for c in choices)])
        if key not in self.quantities and len(self.quantities) >= MAX_LINES:
            raise CartFullError
        before = self.quantities.get(key, 0)
        self.quantities[key] = min(before + quantity, MAX_QUANTITY)
        self._save()
        return self.quantities[key] - before

    def update(self, key: str, quantity: int) -> bool:
        """Set a line's quantity; whether there is such a line."""
        if key not in self.quantities:
            return False
        self.quantities[key] = quantity
        self._save()
        return True

    def remove(self, key: str) -> bool:
        """Take a line out; whether there was such a line."""
        if self.quantities.pop(key, None) is None:
            return False
        self._save()
        return True

    def clear(self) -> None:
        self.quantities = {}
        self._save()

    def lines(self) -> list[Line]:
        """Its lines, in the order they were added (two queries, none when empty).

        A line whose product or choice is no longer sold is taken out, and `dropped` set.
        """
        if not self.quantities:
            return []
        wanted = {int(key.split("-")[0]) for key in self.quantities}
        products = Product.objects.on_sale().prefetch_related("choices").in_bulk(wanted)
        lines = []
        for key, quantity in list(self.quantities.items()):
            line = _line(key, quantity, products)
            if line:
                lines.append(line)
            else:
                self.dropped = True
                del self.quantities[key]
        if self.dropped:
            self._save()
        return lines

    def _save(self) -> None:
        self.session[SESSION_KEY] = self.quantities


def _line(key: str, quantity: int, products: dict[int, Product]) -> Line | None:
    """The line of `key`, or None where it can no longer be sold as it was chosen."""
    product_pk, *choice_pks = (int(part) for part in key.split("-"))
    product = products.get(product_pk)
    if product is None:
        return None
    kinds = product.choices_by_kind()
    chosen = tuple(c for kind in kinds.values() for c in kind if c.pk in choice_pks)
    if len(chosen) != len(choice_pks) or {c.kind for c in chosen} != set(kinds):
        return None
    return Line(key, product, chosen, quantity)
