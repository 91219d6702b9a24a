"""What visitors do in a load: short journeys that form each pattern, on the visitor's clock."""

import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

PRODUCTS = [f"/products/{number}" for number in range(1, 30)]


class Act(NamedTuple):
    """One thing done, so many seconds after the journey began."""

    at: float
    action: str
    page: str
    metadata: dict[str, Any] | None = None


class Part(NamedTuple):
    """What is sent together, so many seconds after what came before it was delivered."""

    acts: list[Act]
    pause: float = 0.0


Journey = Iterator[Part]


def loop(rng: random.Random) -> Journey:
    """Back and forth between two pages; longer ones escalate."""
    here, there = rng.sample(PRODUCTS, 2)
    at = rng.uniform(0, 3)
    yield Part([Act(at, "navigate", here), Act(at + 1, "navigate", there)])
    yield Part([Act(at + 2 + n, "navigate", page) for n, page in enumerate((here, there, here))])
    for turn in range(rng.choice((0, 0, 1, 2))):
        at += 5 + turn
        yield Part([Act(at, "navigate", there), Act(at + 0.5, "navigate", here)])


def idle(rng: random.Random) -> Journey:
    """Sitting on a page; longer spells escalate."""
    page = rng.choice(PRODUCTS)
    yield Part([Act(0, "navigate", page), Act(0.5, "scroll", page), _idle(page, 0.5, 11)])
    for seconds in (21, 42)[: rng.choice((0, 1, 2))]:
        yield Part([_idle(page, 0.5, seconds)])


def funnel(rng: random.Random) -> Journey:
    """Into the checkout, and out of it in one of the ways there are."""
    steps = ["/cart", "/checkout", "/payment"][: rng.choice((2, 2, 3))]
    yield Part([Act(0, "navigate", PRODUCTS[0]), Act(1, "click", PRODUCTS[0])])
    yield Part([Act(2.0 + n, "navigate", step) for n, step in enumerate(steps)])
    yield from rng.choice(ENDINGS)(rng, steps[-1])


def browse(rng: random.Random) -> Journey:
    """Nothing to see: new pages only, some clicks, times out of order or equal, maybe a name."""
    pages = rng.sample(PRODUCTS, 3)
    for n, page in enumerate(pages):
        acts = [Act(n * 4.0, "navigate", page)]
        acts += [Act(n * 4 + rng.choice((0, 1, 1, 2)), "click", page) for _ in range(3)]
        yield Part(acts)
    if rng.random() < 0.5:
        who = {"id": f"customer-{rng.randrange(1000)}"}
        yield Part([Act(13, "identify", pages[-1], who)])


def _idle(page: str, since: float, seconds: float) -> Act:
    return Act(since + seconds, "idle", page, {"duration_ms": round(seconds * 1000)})


def _away(rng: random.Random, page: str) -> Journey:
    yield Part([Act(6, "navigate", "/products")])
    if rng.random() < 0.4:
        yield from _comes_back(page, 7)


def _gives_up(rng: random.Random, page: str) -> Journey:
    yield Part([Act(6, "abandon", page)])
    if rng.random() < 0.3:
        yield Part([Act(8, "confirm", page)])


def _leaves(rng: random.Random, page: str) -> Journey:
    yield Part([Act(6, "leave", page)])
    if rng.random() < 0.3:
        # Late enough for some settings of the grace, too soon for others.
        yield Part([Act(14, "navigate", page), Act(15, "purchase", page)], pause=4.0)


def _reloads(rng: random.Random, page: str) -> Journey:
    yield Part([Act(6, "leave", page), Act(7, "navigate", page)])
    yield Part([Act(8, "confirm", page)])


def _hides_and_leaves(rng: random.Random, page: str) -> Journey:
    yield Part([Act(5, "tab_hidden", page), _idle(page, 5, 11)])
    if rng.random() < 0.5:
        yield Part([Act(17, "tab_visible", page), _idle(page, 17, 12)])
    yield Part([Act(30, "leave", page)])


def _buys(rng: random.Random, page: str) -> Journey:
    yield Part([Act(6, "purchase", page), Act(7, "navigate", "/confirm")])


def _comes_back(page: str, at: float) -> Journey:
    yield Part([Act(at, "navigate", page)])
    yield Part([Act(at + 2, "confirm", page)])


ENDINGS: list[Callable[[random.Random, str], Journey]] = [
    _away,
    _gives_up,
    _leaves,
    _leaves,
    _reloads,
    _hides_and_leaves,
    _buys,
]
KINDS: list[Callable[[random.Random], Journey]] = [loop, idle, funnel, funnel, browse]
# No journey is longer than this, seconds: it begins so long ago, so that nothing lies ahead.
LONGEST = 60.0


def any_journey(rng: random.Random) -> Journey:
    return rng.choice(KINDS)(rng)
