"""What a server has kept, held against what its clients were told and what an undisturbed engine
says of the same journal. It reads the tables past Django, while the server writes them.
"""

import contextlib
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from detection import replay
from detection.batches import Seen
from detection.engine.config import EngineConfig
from detection.engine.engine import Engine
from detection.engine.patterns import Change, ChangeKind
from detection.journal import Entry, decode_events
from detection.models import DEFAULT_SITE_ID, JournalEntry
from detection.outbox import News
from tests.server import Server
from tests.traffic import Traffic

# What people do to patterns, and names that become known, are not the engine's.
ENGINE_STEPS = {ChangeKind.OPENED.value, ChangeKind.ESCALATED.value, ChangeKind.RECOVERED.value}

# Deadlines after a `leave` are nearer than this, all others further away, ms.
SOON_MS = 30_000


class Step(NamedTuple):
    """A step that the engine made. at: epoch ms."""

    kind: str
    severity: int
    explanation: str
    at: int


class Kept(NamedTuple):
    """A pattern, as far as the engine says what it is. Times in epoch ms."""

    user_id: str
    type: str
    page: str
    severity: int
    explanation: str
    detected_at: int
    recovered_at: int | None
    steps: tuple[Step, ...]


class Database:
    """The tables of a server, by SQL. target: SQLite's file, or a DATABASE_URL."""

    def __init__(self, target: Path | str) -> None:
        self._target = target

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """All that one statement finds, in a connection of its own."""
        if isinstance(self._target, str) and self._target.startswith("postgres"):
            with psycopg.connect(self._target, connect_timeout=10) as postgres:
                return postgres.execute(statement.encode()).fetchall()
        file = str(self._target).removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(file, timeout=30)) as lite:
            return lite.execute(statement).fetchall()

    def entries(self, after: int) -> list[Entry]:
        """The journal past a position, decoded."""
        found = self.rows(
            "SELECT position, kind, site_id, user_id, batch, arrival, count, size, body"
            f" FROM detection_journalentry WHERE position > {after} ORDER BY position"
        )
        return [_entry(*row) for row in found]

    def patterns(self) -> dict[str, Kept]:
        """Every pattern by its id, with the engine's steps that led to it."""
        found = self.rows(
            "SELECT pattern_id, user_id, type, page, severity, explanation, detected_at,"
            " recovered_at FROM detection_pattern"
        )
        steps = self._steps()
        kept = {}
        for key, *told, detected, recovered in found:
            times = (_ms(detected), _ms(recovered) if recovered else None)
            kept[key] = Kept._make((*told, *times, tuple(steps.get(key, ()))))
        return kept

    def _steps(self) -> dict[str, list[Step]]:
        """The engine's steps of each pattern; the sequence of all of them has no gap."""
        steps: dict[str, list[Step]] = {}
        found = self.rows(
            "SELECT pattern_id, sequence, kind, severity, explanation, at"
            " FROM detection_patternchange ORDER BY sequence"
        )
        for place, (key, sequence, kind, severity, explanation, at) in enumerate(found, start=1):
            assert sequence == place, f"change {place} is missing or doubled: {sequence}"
            if kind in ENGINE_STEPS:
                steps.setdefault(key, []).append(Step(kind, severity, explanation, _ms(at)))
        return steps

    def newest_change(self) -> int:
        return int(self.rows("SELECT max(last_change) FROM detection_site")[0][0])


def _entry(
    position: int,
    kind: int,
    site: int | None,
    user_id: str,
    batch: str,
    arrival: int,
    count: int,
    size: int,
    body: bytes,
) -> Entry:
    body = bytes(body)
    assert size == len(body), f"entry {position} is said to have {size} bytes, not {len(body)}"
    if kind == JournalEntry.Kind.CONFIG:
        return Entry(position, 0, "", arrival, [], body)
    assert site is not None
    events = decode_events(site, user_id, body)
    assert count == len(events), f"entry {position} is said to hold {count}, not {len(events)}"
    return Entry(position, site, batch, arrival, events, b"")


def _ms(moment: datetime | str) -> int:
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


class Reference:
    """An engine that nothing ever happens to, and what it has said."""

    def __init__(self) -> None:
        self.engine = Engine(EngineConfig())
        self._seen = Seen()
        self._changes: dict[str, list[Change]] = {}

    def read(self, entries: list[Entry]) -> None:
        for _, news in replay.replay(entries, self.engine, self._seen):
            self._note(news)

    def advance(self, now: int) -> None:
        self._note(replay.advance(self.engine, now))

    def patterns(self) -> dict[str, Kept]:
        return {key: _said(changes) for key, changes in self._changes.items()}

    def _note(self, news: list[News]) -> None:
        for item in news:
            if isinstance(item, Change):
                self._changes.setdefault(item.pattern.pattern_id, []).append(item)


def _said(changes: list[Change]) -> Kept:
    first, last = changes[0].pattern, changes[-1].pattern
    steps = tuple(
        Step(c.kind.value, c.pattern.severity.value, c.pattern.explanation, c.at) for c in changes
    )
    recovered = next((c.at for c in changes if c.kind is ChangeKind.RECOVERED), None)
    return Kept(
        first.user_id,
        first.type,
        first.page,
        last.severity.value,
        last.explanation,
        first.detected_at,
        recovered,
        steps,
    )


class Ledger:
    """Follows one database through all that happens to its servers.

    marks: how often each event is in the journal, by its mark. lost: those that were answered 202
    and are not in it. doubled: those that are in it more than once. events, configurations: what
    it holds.
    """

    def __init__(self, target: Path | str) -> None:
        self.database = Database(target)
        self.reference = Reference()
        self.marks: Counter[str] = Counter()
        self.lost: set[str] = set()
        self.position = 0
        self.clock = 0  # arrival of the newest entry
        self.events = 0
        self.configurations = 0

    def read(self) -> None:
        """Read what the journal holds beyond what was read before."""
        entries = self.database.entries(self.position)
        for place, entry in enumerate(entries, start=self.position + 1):
            assert entry.position == place, f"entry {place} is missing: {entry.position}"
            assert entry.arrival >= self.clock, f"entry {place} goes back in time"
            self.clock = entry.arrival
            self.events += len(entry.events)
            self.configurations += bool(entry.config)
            for event in entry.events:
                assert event.metadata is not None
                self.marks[event.metadata["n"]] += 1
        self.position += len(entries)
        self.reference.read(entries)

    @property
    def doubled(self) -> set[str]:
        return {mark for mark, times in self.marks.items() if times > 1}

    def check(self, traffic: Traffic, timeout: float = 15.0) -> None:
        """While all goes on: what was answered is kept, and what is kept was detected, no more."""
        answered = set(traffic.accepted)
        self.read()
        self.lost |= answered - self.marks.keys()
        assert not self.lost, f"{len(self.lost)} of {len(answered)} lost: {some(self.lost)}"
        assert not self.doubled, f"doubled: {some(self.doubled)}"
        expected = self.reference.patterns().keys()
        deadline = time.monotonic() + timeout
        while missing := expected - (stored := self.database.patterns()).keys():
            assert time.monotonic() < deadline, f"not stored: {some(missing)}"
            time.sleep(0.05)
        self.read()
        said = self.reference.patterns().keys()
        extra = {k for k in stored.keys() - said if stored[k].detected_at <= self.clock}
        assert not extra, f"stored, and not in the journal: {some(extra)}"

    def settle(self, traffic: Traffic, server: Server, timeout: float = 20.0) -> None:
        """When the traffic has ended: all is equal in the end, to the last step and number."""
        self.check(traffic)
        unasked = traffic.refused & self.marks.keys()
        assert not unasked, f"kept, and answered 503: {some(unasked)}"
        assert traffic.problems == []
        deadline = time.monotonic() + timeout
        while differences := list(self._still_to_come()) or list(self._differences()):
            assert time.monotonic() < deadline, "\n".join(differences[:6])
            time.sleep(0.1)
        self._check_stats(server)

    def _still_to_come(self) -> Iterator[str]:
        """What falls due before long; the rest is minutes away."""
        self.read()
        now = time.time_ns() // 1_000_000
        self.reference.advance(now)
        nearest = self.reference.engine.next_deadline()
        if nearest is not None and nearest < now + SOON_MS:
            yield f"a deadline in {nearest - now} ms"

    def _differences(self) -> Iterator[str]:
        stored, said = self.database.patterns(), self.reference.patterns()
        for key in stored.keys() | said.keys():
            if stored.get(key) != said.get(key):
                yield f"{key}:\n  stored {stored.get(key)}\n  engine {said.get(key)}"

    def _check_stats(self, server: Server) -> None:
        stats = server.get("/api/stats")
        told = self.reference.engine.stats(DEFAULT_SITE_ID)
        assert stats["total_events"] == self.events == told.total_events
        assert stats["patterns_detected"] == len(self.reference.patterns())
        assert stats["abandonment_rate"] == told.abandonment_rate


def some(marks: set[str]) -> str:
    return ", ".join(sorted(marks)[:5]) + (" …" if len(marks) > 5 else "")
