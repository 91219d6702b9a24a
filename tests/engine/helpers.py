"""Streams of events in a line each, and changes in a word each. Times are ms after BASE."""

from collections.abc import Iterable
from typing import Any

from detection.engine.config import EngineConfig
from detection.engine.engine import Engine
from detection.engine.events import Event
from detection.engine.patterns import Change

BASE = 1_700_000_000_000
MINUTE = 60_000

Step = tuple[Any, ...]


def at(
    ms: int,
    action: str,
    page: str = "/a",
    *,
    user: str = "v",
    site: int = 1,
    view: str = "",
    ts: int | None = None,
    **metadata: str,
) -> tuple[Event, int]:
    """An event that arrives ms after BASE; it happened then too, unless ts says otherwise."""
    timestamp = BASE + (ms if ts is None else ts)
    return Event(site, user, action, page, timestamp, view, metadata or None), BASE + ms


def idle(ms: int, duration: object, page: str = "/a", **more: Any) -> tuple[Event, int]:
    """An idle report with its duration in ms."""
    return at(ms, "idle", page, duration_ms=str(duration), **more)


def visits(pages: str, start: int = 0, gap: int = 1_000, **more: Any) -> list[tuple[Event, int]]:
    """`A B A`: a navigate to /A, /B and /A, a gap apart."""
    return [
        at(start + index * gap, "navigate", f"/{page}", **more)
        for index, page in enumerate(pages.split())
    ]


def told(changes: Iterable[Change]) -> list[str]:
    """`12000 opened low /a` for each change."""
    return [
        f"{change.at - BASE} {change.kind.value} {change.pattern.severity.label} "
        f"{change.pattern.place}"
        for change in changes
    ]


def play(
    stream: Iterable[tuple[Event, int]],
    *,
    until: int | None = None,
    config: EngineConfig | None = None,
    engine: Engine | None = None,
) -> list[Change]:
    """Every change that a stream makes, and then those until a later time."""
    engine = engine or Engine(config)
    changes = [change for event, now in stream for change in engine.observe(event, now)]
    if until is not None:
        changes += engine.advance(BASE + until)
    return changes
