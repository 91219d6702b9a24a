"""Where Verse sends parcels, how fast, and for how much (pounds)."""

import re
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Country:
    """A country Verse delivers to, and what its postcodes look like."""

    code: str
    name: str
    postcode: re.Pattern[str]
    example: str


@dataclass(frozen=True)
class Method:
    """A way of delivering. At or above `free_from` it costs nothing; None: never free."""

    key: str
    label: str
    when: str
    price: Decimal
    free_from: Decimal | None = None
    only: str = ""

    def cost(self, subtotal: Decimal) -> Decimal:
        """What delivering goods worth `subtotal` costs."""
        if self.free_from is not None and subtotal >= self.free_from:
            return Decimal("0.00")
        return self.price


COUNTRIES = (
    Country(
        "GB",
        "United Kingdom",
        re.compile(r"(GIR ?0AA|[A-Z]{1,2}[0-9][0-9A-Z]? ?[0-9][A-Z]{2})"),
        "SW1A 1AA",
    ),
    Country("IE", "Ireland", re.compile(r"[A-Z][0-9][0-9W] ?[0-9A-Z]{4}"), "D02 AF30"),
    Country("FR", "France", re.compile(r"[0-9]{5}"), "75001"),
    Country("DE", "Germany", re.compile(r"[0-9]{5}"), "10115"),
    Country("NL", "Netherlands", re.compile(r"[1-9][0-9]{3} ?[A-Z]{2}"), "1012 AB"),
)
COUNTRY = {country.code: country for country in COUNTRIES}

STANDARD = Method(
    "standard", "Standard", "2–4 working days", Decimal("4.50"), free_from=Decimal("60.00")
)
NEXT_DAY = Method("next-day", "Next day", "the next working day", Decimal("9.50"), only="GB")
METHODS = (STANDARD, NEXT_DAY)
METHOD = {method.key: method for method in METHODS}
