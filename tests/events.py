"""Events in the wire's shape, and visitors who make patterns on purpose."""

import itertools
import time
from typing import Any

_visitors = itertools.count(1)


def visitor() -> str:
    """A visitor's id that no other test uses."""
    return f"visitor-{next(_visitors)}"


def event(user_id: str, action: str = "click", page: str = "/", **more: Any) -> dict[str, Any]:
    timestamp = more.pop("timestamp", time.time_ns() // 1_000_000)
    return {"user_id": user_id, "action": action, "page": page, "timestamp": timestamp} | more


def loop(user_id: str, one: str = "/a", other: str = "/b", visits: int = 5) -> list[dict[str, Any]]:
    """Back and forth between two pages: 5 visits are a low navigation-loop, 7 a medium one."""
    pages = itertools.islice(itertools.cycle((one, other)), visits)
    return [event(user_id, "navigate", page) for page in pages]


def abandonment(user_id: str) -> list[dict[str, Any]]:
    """Through the funnel as far as checkout, and away."""
    pages = ("/cart", "/checkout", "/products")
    return [event(user_id, "navigate", page) for page in pages]
