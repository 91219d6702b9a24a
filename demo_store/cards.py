"""Telling a test card from a real one, so that a real one is turned away.

Verse takes no money. It accepts the well-known test numbers that payment providers
publish, refuses every other number, and keeps nothing of either: a number is looked
at while the request lasts and then forgotten. Nothing here logs.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class TestCard:
    """A published test number. `declined` is the reason its bank would give, or empty."""

    __test__ = False  # for pytest: a card, not a test class

    brand: str
    number: str
    declined: str = ""

    @property
    def grouped(self) -> str:
        """The number as it is printed on a card."""
        if len(self.number) == 15:
            return f"{self.number[:4]} {self.number[4:10]} {self.number[10:]}"
        return " ".join(self.number[at : at + 4] for at in range(0, len(self.number), 4))

    @property
    def cvc_length(self) -> int:
        return 4 if self.brand == "American Express" else 3


TEST_CARDS = (
    TestCard("Visa", "4242424242424242"),
    TestCard("Visa debit", "4000056655665556"),
    TestCard("Mastercard", "5555555555554444"),
    TestCard("Mastercard, 2-series", "2223003122003222"),
    TestCard("American Express", "378282246310005"),
    TestCard("Discover", "6011111111111117"),
    TestCard("Visa", "4000000000000002", declined="The bank declined this card."),
    TestCard("Visa", "4000000000009995", declined="This card has too little money on it."),
)
BY_NUMBER = {card.number: card for card in TEST_CARDS}


def passes_luhn(number: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
