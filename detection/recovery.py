"""From the database back to the engine as it was: the newest snapshot, then the journal's tail.

What the engine says while the tail is played again is said again: storing is monotone, so what is
stored already changes nothing, and what the crash kept from being stored is stored now.
"""

import contextlib
import gc
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from detection import journal, replay, snapshots
from detection.batches import Seen
from detection.clock import to_ms
from detection.engine.config import EngineConfig, decode_config
from detection.engine.engine import Engine
from detection.engine.saving import SnapshotUnusable
from detection.journal import Entry
from detection.models import JournalEntry, Pattern, Site, Snapshot
from detection.outbox import News

logger = logging.getLogger(__name__)

# Without a usable snapshot the journal is read again from so long before the newest one: longer
# than anything that the engine remembers of a visitor who has gone, ms.
LOOK_BACK_MS: Final = 2 * 3_600_000
PROGRESS_S: Final = 5.0
# Changes told at a time: few enough to hold, many enough for the publisher to share a commit.
TOLD_AT_ONCE: Final = 2_000

Tell = Callable[[list[News]], None]


class Recovered(NamedTuple):
    """What the pipeline goes on with. position: of the journal's last entry that was played.

    clock: the earliest time that may come next, epoch ms. snapshot: position of the snapshot that
    was used, 0 for none.
    """

    engine: Engine
    seen: Seen
    position: int
    clock: int
    snapshot: int


def recover(config: EngineConfig, tell: Tell) -> Recovered:
    """Read the engine's state from the database; `tell` is given what the tail says.

    An empty journal gives a new engine with `config`. Raises what the database raises.
    """
    began = time.monotonic()
    with _no_collection():
        engine, seen, start = _from_snapshot(config)
        played = _Played(start, tell)
        played.play(journal.read(start), engine, seen)
    position = max(start, played.position)
    if position:
        seconds = time.monotonic() - began
        what = f"the snapshot up to {start:,} and " if start else ""
        logger.info(
            "Recovered from %s%s of the journal in %.1f s.",
            what,
            _count(position - start, "entry", "entries"),
            seconds,
        )
    return Recovered(engine, seen, position, _clock(engine), start)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Without the garbage collector, which would go through all that is read, again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _from_snapshot(config: EngineConfig) -> tuple[Engine, Seen, int]:
    """The engine of the newest snapshot that can be used, and where the journal goes on."""
    rows = snapshots.newest()
    for row in rows:
        try:
            engine, seen = snapshots.load(row)
        except SnapshotUnusable as reason:
            logger.warning(
                "The snapshot up to %s of the journal cannot be used: %s.",
                f"{row.position:,}",
                reason,
            )
        else:
            return engine, seen, row.position
    if not rows:
        return Engine(config), Seen(), 0
    return _warm_up(config, rows[0])


def _warm_up(config: EngineConfig, row: Snapshot) -> tuple[Engine, Seen, int]:
    """Play the journal up to where a snapshot that cannot be read was taken.

    Every change up to there is stored, so nothing of it is told; and the counts, which go back
    further than this, are in the row itself. It is played under the configuration of its time, or
    under `config` where the journal no longer holds that.
    """
    logger.warning("The journal is read again instead.")
    since = row.clock - LOOK_BACK_MS
    before = JournalEntry.objects.filter(arrival__lte=since).order_by("-arrival", "-position")
    start = before.values_list("position", flat=True).first() or 0
    engine, seen = Engine(_config_at(start) or config), Seen()
    entries = _up_to(journal.read(start), row.position)
    _Played(start, lambda _: None).play(entries, engine, seen)
    engine.resume_tallies({int(site): counts for site, counts in row.stats.items()})
    return engine, seen, row.position


def _config_at(position: int) -> EngineConfig | None:
    """The configuration in force after an entry of the journal; None where that is not known."""
    kept = journal.config_at(position)
    try:
        return decode_config(kept) if kept else None
    except ValueError:
        logger.warning("A configuration in the journal cannot be read; the one of now is used.")
        return None


def _up_to(entries: Iterable[Entry], position: int) -> Iterable[Entry]:
    for entry in entries:
        if entry.position > position:
            return
        yield entry


class _Played:
    """Plays entries, tells what they say, and says how far it is where that takes long."""

    def __init__(self, start: int, tell: Tell) -> None:
        self.position = start
        self._start = start
        self._tell = tell
        self._next = time.monotonic() + PROGRESS_S

    def play(self, entries: Iterable[Entry], engine: Engine, seen: Seen) -> None:
        waiting: list[News] = []
        for position, news in replay.replay(entries, engine, seen):
            self.position = position
            waiting += news
            if len(waiting) >= TOLD_AT_ONCE:
                self._tell(waiting)
                waiting = []
            if position % journal.SLICE == 0:
                self._say()
        self._tell(waiting)

    def _say(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PROGRESS_S
        done, last = self.position - self._start, journal.head() - self._start
        logger.info("Recovering: %s of %s entries of the journal read.", f"{done:,}", f"{last:,}")


def _clock(engine: Engine) -> int:
    """No earlier than anything that was said before, so that what fell due stays so."""
    newest = [engine.now]
    for site in Site.objects.values_list("pk", flat=True):
        found = Pattern.objects.for_site(site).newest_first().values_list("detected_at", flat=True)
        newest += [to_ms(at) for at in found[:1]]
    return max(newest)


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
