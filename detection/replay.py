"""How events reach the engine: the same for what arrives and for what is read again."""

import logging
from collections.abc import Iterable, Iterator

from detection.batches import Seen
from detection.engine.config import decode_config
from detection.engine.engine import Engine
from detection.engine.events import Event
from detection.engine.patterns import Identified
from detection.journal import Entry
from detection.outbox import News

logger = logging.getLogger(__name__)


def observe(engine: Engine, events: Iterable[Event], arrival: int) -> list[News]:
    """Show the engine events that arrived together; what it says. One it cannot take is logged."""
    changes: list[News] = []
    for event in events:
        try:
            if event.action == "identify":
                changes += _identify(engine, event, arrival)
            else:
                changes += engine.observe(event, arrival)
        except Exception:
            logger.exception("An event could not be handled; the engine goes on.")
    return changes


def advance(engine: Engine, now: int) -> list[News]:
    """Let the engine's time pass up to `now`, epoch ms; what falls due."""
    try:
        return list(engine.advance(now))
    except Exception:
        logger.exception("A deadline could not be handled; the engine goes on.")
        return []


def configure(engine: Engine, config: bytes, at: int) -> list[News]:
    """Bring a configuration into force at `at`; what fell due before it."""
    changes = advance(engine, at)
    try:
        engine.configure(decode_config(config))
    except ValueError:
        logger.exception("A configuration in the journal cannot be read; the one before it stays.")
    return changes


def replay(
    entries: Iterable[Entry], engine: Engine, seen: Seen
) -> Iterator[tuple[int, list[News]]]:
    """Play entries of the journal; after each its position, and what the engine said."""
    for entry in entries:
        if entry.config:
            yield entry.position, configure(engine, entry.config, entry.arrival)
        else:
            if entry.batch:
                seen.add((entry.site, entry.batch))
            yield entry.position, observe(engine, entry.events, entry.arrival)


def _identify(engine: Engine, event: Event, arrival: int) -> list[News]:
    """News of who the visitor is, if that is news."""
    known = engine.identified(event.site, event.user_id)
    changes: list[News] = list(engine.observe(event, arrival))
    told = engine.identified(event.site, event.user_id)
    if told and told != known:
        changes.append(Identified(event.site, event.user_id, told, arrival))
    return changes
