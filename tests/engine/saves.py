"""Engines saved and restored, and all that they hold as plain values."""

from typing import Any

from detection.engine.engine import Engine


def pieces_of(engine: Engine, visitors: int = 3) -> list[bytes]:
    """A whole snapshot of the engine as it stands."""
    capture = engine.capture()
    pieces = []
    while not capture.done:
        pieces.append(capture.take(visitors))
    return pieces


def saved(engine: Engine) -> Engine:
    """The engine after it was saved and restored."""
    return Engine.restored(pieces_of(engine))


def visitors(engine: Engine) -> list[Any]:
    """Every visitor, longest silent first, down to the last number."""
    return [
        {
            "window": (
                list(visitor.window.events),
                list(visitor.window.arrivals),
                visitor.window.first,
                visitor.window.bytes,
            ),
            "visits": visits(visitor.visits),
            "standings": visitor.standings or {},
            **plain(visitor, "window", "visits", "standings"),
        }
        for visitor in engine._visitors.held.values()
    ]


def visits(held: Any) -> Any:
    if held is None:
        return None
    return {"held": held.held, **plain(held, "_visits", "_head")}


def attempts(engine: Engine) -> list[Any]:
    """Every journey, longest unheard first, down to the last number."""
    return [plain(journey) for journey in engine._journeys.held.values()]


def plain(held: Any, *apart: str) -> dict[str, Any]:
    """An object's slots, for comparing; what is apart is compared by itself."""
    return {name: getattr(held, name) for name in type(held).__slots__ if name not in apart}
