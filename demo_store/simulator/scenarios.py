"""The five scenarios that virtual shoppers play in Verse.

| scenario             | what the visitor does                                   | must be seen    |
|----------------------|---------------------------------------------------------|-----------------|
| normal browse        | a list and ever new products; maybe a look at the cart  | nothing         |
| hesitation           | idle for 10 to 45 s on a product or in the checkout     | hesitation      |
| navigation loop      | round and round between two or three pages              | navigation-loop |
| checkout abandonment | enters the checkout; goes elsewhere, gives up or leaves | abandonment     |
| full purchase        | a few products, cart, checkout, payment, confirmation   | nothing         |

A scenario is a pure generator of steps: the same random generator and mean gap give the
same journey. The gaps between ordinary events are drawn around the mean; an idle spell
takes its real time whatever the mean, because only a real spell is one. The step whose
arrival completes a pattern names it, so that a journey that is cut short before that step
is expected to show nothing.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import exp
from typing import Final

HESITATION: Final = "hesitation"
NAVIGATION_LOOP: Final = "navigation-loop"
ABANDONMENT: Final = "abandonment"

# Slugs of some of Verse's products. A constant, so that a seed means the same journeys
# on every machine and the simulator needs no database; a test holds them to the catalogue.
PRODUCTS: Final = (
    "letters-from-a-slow-train",
    "meridian-desk-lamp",
    "halo-floor-lamp",
    "folio-journal",
    "tern-fountain-pen",
    "bottled-ink",
    "alcove-armchair",
    "perch-side-table",
    "chapter-mug",
    "long-read-teapot",
)

# The tracker reports idle time as it passes each of these marks.
IDLE_MARKS_MS: Final = (10_000, 20_000, 40_000)
# How likely a visitor who is idle at a mark still is at the next.
STILL_IDLE: Final = 0.45
# No gap is longer than this many times the mean.
LONGEST_GAP: Final = 4.0
_SHORTENED: Final = 1 - exp(-LONGEST_GAP)  # what that bound leaves of the mean


@dataclass(frozen=True)
class Step:
    """One event of a journey.

    wait_ms: time since the step before.
    expects: the type of the pattern that this event completes, or "".
    """

    wait_ms: int
    action: str
    page: str
    metadata: dict[str, str | int] = field(default_factory=dict)
    expects: str = ""


class Shopper:
    """The small habits that scenarios are composed of: go, look, click, idle, leave."""

    def __init__(self, rng: random.Random, mean_gap_ms: float) -> None:
        self.rng = rng
        self.mean_gap_ms = mean_gap_ms
        self.page = ""
        self._rest_ms = 0

    def step(self, action: str, *, expects: str = "", **metadata: str | int) -> Step:
        """An ordinary event on the current page, after an ordinary gap."""
        gap = min(self.rng.expovariate(1.0), LONGEST_GAP) / _SHORTENED * self.mean_gap_ms
        rest, self._rest_ms = self._rest_ms, 0
        return Step(rest + max(1, round(gap)), action, self.page, metadata, expects)

    def go(self, page: str, expects: str = "") -> Step:
        self.page = page
        return self.step("navigate", expects=expects)

    def click(self, label: str, target: str = "button") -> Step:
        return self.step("click", target=target, label=label)

    def look(self) -> Iterator[Step]:
        """Scroll down a page, a quarter or two, or not at all."""
        for quarter in range(1, 1 + self.rng.randint(0, 2)):
            yield self.step("scroll", depth=25 * quarter)

    def glance_away(self) -> Iterator[Step]:
        """Look at another tab, and return."""
        yield self.step("tab_hidden")
        yield self.step("tab_visible")

    def idle(self) -> Iterator[Step]:
        """An idle spell of 10 to 45 s, reported at each mark that it passes."""
        passed = 0
        for mark in IDLE_MARKS_MS:
            if passed and self.rng.random() >= STILL_IDLE:
                break
            expects = "" if passed else HESITATION
            yield Step(mark - passed, "idle", self.page, {"duration_ms": mark}, expects)
            passed = mark
        self._rest_ms = self.rng.randint(500, 5_000)  # ends before the next mark

    def leave(self, expects: str = "") -> Step:
        """Close the tab."""
        return self.step("leave", expects=expects)

    def products(self, least: int, most: int) -> list[str]:
        """Paths of different products."""
        slugs = self.rng.sample(PRODUCTS, self.rng.randint(least, most))
        return [f"/product/{slug}" for slug in slugs]

    def shop(self, products: list[str], listing: str = "/products") -> Iterator[Step]:
        """From the list to each product and back; ever new products are not a loop."""
        for product in products:
            yield self.go(listing)
            yield from self.look()
            yield self.click("View product", "a")
            yield self.go(product)
            yield from self.look()

    def to_step(self, last: str, button: str = "Add to cart") -> Iterator[Step]:
        """Into the funnel by `button`, as far as `last`."""
        for page, label in (
            ("/cart", button),
            ("/checkout", "Check out"),
            ("/payment", "Continue to payment"),
        ):
            yield self.click(label)
            yield self.go(page)
            yield from self.look()
            if page == last:
                return

    def pay(self) -> Iterator[Step]:
        """From the payment page to a completed purchase."""
        yield self.click("Pay")
        yield self.step("confirm")
        yield self.go("/confirm")
        yield self.step("purchase")


def browse(shopper: Shopper) -> Iterator[Step]:
    rng = shopper.rng
    yield shopper.go("/home")
    yield from shopper.look()
    yield from shopper.shop(shopper.products(2, 5), rng.choice(("/products", "/search")))
    if rng.random() < 0.3:
        yield from shopper.glance_away()
    if rng.random() < 0.25:
        yield shopper.go("/cart")  # the first step: the funnel is not entered yet
    yield shopper.leave()


def hesitate(shopper: Shopper) -> Iterator[Step]:
    rng = shopper.rng
    yield shopper.go("/home")
    yield from shopper.shop(shopper.products(1, 2))
    where = rng.choice(("product", "/checkout", "/payment"))
    if where == "product":
        yield from shopper.idle()
        yield from shopper.look()
        yield shopper.leave()
        return
    yield from shopper.to_step(where)
    yield from shopper.idle()
    if where == "/checkout":
        yield shopper.click("Continue to payment")
        yield shopper.go("/payment")
    yield from shopper.pay()
    yield shopper.leave()


def loop(shopper: Shopper) -> Iterator[Step]:
    """A loop of n pages shows at the (2n + 1)th visit: three of the first, two fruitless."""
    rng = shopper.rng
    first, second = shopper.products(2, 2)
    pages = rng.choice(
        (
            ("/products", "/search"),
            ("/products", first),
            (first, second),
            ("/products", first, second),
        )
    )
    shows_at = 2 * len(pages) + 1
    yield shopper.go("/home")
    yield from shopper.look()
    for visit in range(1, shows_at + 1 + rng.randint(0, 4)):
        page = pages[(visit - 1) % len(pages)]
        yield shopper.go(page, expects=NAVIGATION_LOOP if visit == shows_at else "")
        if rng.random() < 0.4:
            yield shopper.step("scroll", depth=25)
    yield shopper.leave()


def abandon(shopper: Shopper) -> Iterator[Step]:
    rng = shopper.rng
    yield shopper.go("/home")
    yield from shopper.shop(shopper.products(1, 3))
    yield from shopper.to_step(rng.choice(("/checkout", "/payment")))
    ending = rng.choice(("elsewhere", "gives up", "closes the tab"))
    if ending == "closes the tab":
        yield shopper.leave(expects=ABANDONMENT)
        return
    if ending == "gives up":
        yield shopper.step("abandon", expects=ABANDONMENT)
    else:
        yield shopper.go(rng.choice(("/home", "/products")), expects=ABANDONMENT)
        yield from shopper.look()
    yield shopper.leave()


def purchase(shopper: Shopper) -> Iterator[Step]:
    yield shopper.go("/home")
    yield from shopper.shop(shopper.products(1, 3))
    button = "Add to cart"
    if shopper.rng.random() < 0.25:  # a look back at the cart is not leaving
        yield from shopper.to_step("/checkout")
        button = "Back to cart"
    yield from shopper.to_step("/payment", button)
    yield from shopper.pay()
    yield shopper.leave()


@dataclass(frozen=True)
class Scenario:
    """name: as shown. expects: types of the patterns a finished journey must show, each once.
    weight: how often it is drawn, beside the others."""

    name: str
    play: Callable[[Shopper], Iterator[Step]]
    expects: frozenset[str]
    weight: int

    def steps(self, rng: random.Random, mean_gap_ms: float) -> Iterator[Step]:
        return self.play(Shopper(rng, mean_gap_ms))


SCENARIOS: Final = (
    Scenario("normal browse", browse, frozenset(), 30),
    Scenario("hesitation", hesitate, frozenset({HESITATION}), 20),
    Scenario("navigation loop", loop, frozenset({NAVIGATION_LOOP}), 15),
    Scenario("checkout abandonment", abandon, frozenset({ABANDONMENT}), 15),
    Scenario("full purchase", purchase, frozenset(), 20),
)


def cast(rng: random.Random, users: int, slot: int, turn: int) -> Scenario:
    """The scenario of visitor `slot` (of `users`, from 0) at its `turn`th journey, from 0.

    The first journeys go round the five, so that all run at once where five visitors
    do, and none is left out where fewer do; after that the weights decide.
    """
    first_round = slot + turn * users
    if turn == 0 or first_round < len(SCENARIOS):
        return SCENARIOS[first_round % len(SCENARIOS)]
    return rng.choices(SCENARIOS, weights=[scenario.weight for scenario in SCENARIOS])[0]
