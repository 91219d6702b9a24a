"""The journal: what was accepted, in the database, in the order in which the engine sees it.

One process writes it, from one thread, and gives the positions itself. So the rows of a turn go in
with one statement and one commit, and a second writer would meet the primary key.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
from django.db import IntegrityError, connection, transaction
from django.db.models import Max

from detection.batches import Batch
from detection.engine.events import Event
from detection.models import JournalEntry

# Rows read in one go when the journal is read again.
SLICE: Final = 1_000
# How long a commit may wait for a lock before those who wait for it are told to come again, ms.
LOCK_MS: Final = 3_000
STATEMENT_MS: Final = 10_000

# An event without what its row says already: action, page, timestamp, view, metadata.
_Kept = tuple[str, str, int, str, dict[str, str] | None]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Kept]).decode

_Row = tuple[int, int, int | None, str, int, str, int, int, bytes]
_COLUMNS: Final = (
    "position",
    "kind",
    "site_id",
    "user_id",
    "arrival",
    "batch",
    "count",
    "size",
    "body",
)


class Entry(NamedTuple):
    """A row as it is read: the events of one visitor (`config` empty), or a configuration."""

    position: int
    site: int
    batch: str
    arrival: int
    events: list[Event]
    config: bytes


class Displaced(Exception):
    """Another process has written: the journal is no longer this one's."""


class Unreadable(Exception):
    """A row of the journal is not what was written."""


def by_visitor(events: list[Event]) -> list[list[Event]]:
    """The events of a batch, each visitor's together, in the order of their first ones."""
    first = events[0].user_id
    if all(event.user_id == first for event in events):
        return [events]
    groups: dict[str, list[Event]] = {}
    for event in events:
        groups.setdefault(event.user_id, []).append(event)
    return list(groups.values())


def encode_events(events: Sequence[Event]) -> bytes:
    return _encode([(e.action, e.page, e.timestamp, e.view, e.metadata) for e in events])


def decode_events(site: int, user_id: str, body: bytes) -> list[Event]:
    """Raises Unreadable."""
    try:
        return [Event(site, user_id, *kept) for kept in _decode(body)]
    except msgspec.MsgspecError as error:
        raise Unreadable(str(error)) from None


def head() -> int:
    """The newest position in the database; 0 for an empty journal."""
    return JournalEntry.objects.aggregate(last=Max("position"))["last"] or 0


def config_at(position: int) -> bytes | None:
    """The newest configuration in the journal up to a position; None where it holds none."""
    kept = JournalEntry.objects.filter(
        site=None, kind=JournalEntry.Kind.CONFIG, position__lte=position
    )
    body = kept.order_by("-position").values_list("body", flat=True).first()
    return None if body is None else bytes(body)


def read(after: int) -> Iterator[Entry]:
    """The entries past a position, in order. Raises Unreadable."""
    columns = ("position", "kind", "site_id", "user_id", "batch", "arrival", "body")
    while True:
        newer = JournalEntry.objects.filter(position__gt=after).order_by("position")
        rows = list(newer.values_list(*columns)[:SLICE])
        for position, kind, site, user_id, batch, arrival, body in rows:
            yield _entry(position, kind, site or 0, user_id, batch, arrival, bytes(body))
        if len(rows) < SLICE:
            return
        after = rows[-1][0]


def _entry(
    position: int, kind: int, site: int, user_id: str, batch: str, arrival: int, body: bytes
) -> Entry:
    if kind == JournalEntry.Kind.CONFIG:
        return Entry(position, 0, "", arrival, [], body)
    return Entry(position, site, batch, arrival, decode_events(site, user_id, body), b"")


class Journal:
    """The writing side, for the pipeline's thread. `position`: of the last row written."""

    def __init__(self) -> None:
        self.position = 0
        self._session: object = None
        table = connection.ops.quote_name(JournalEntry._meta.db_table)
        names = ", ".join(map(connection.ops.quote_name, _COLUMNS))
        places = ", ".join(["%s"] * len(_COLUMNS))
        # Written by hand because it is on the way of every request: bulk_create makes an object
        # and some fifteen microseconds of each row, and on SQLite a statement of each 111.
        self._insert = f"INSERT INTO {table} ({names}) VALUES ({places})"  # noqa: S608

    def write(self, batches: Sequence[list[list[Event]]], of: Sequence[Batch]) -> None:
        """Write the batches, already by visitor, in one commit. `position` moves if it succeeds.

        Raises what the database raises, Displaced where another process has written.
        """
        rows: list[_Row] = []
        kind = int(JournalEntry.Kind.EVENTS)
        position = self.position
        for batch, groups in zip(of, batches, strict=True):
            name = batch.key[1] if batch.key else ""
            for events in groups:
                position += 1
                body = encode_events(events)
                site, visitor = events[0].site, events[0].user_id
                count, size = len(events), len(body)
                rows.append((position, kind, site, visitor, batch.arrival, name, count, size, body))
        self._append(rows)

    def write_config(self, config: bytes, at: int) -> None:
        """Write a change of configuration, in force from `at` (epoch ms). Raises like `write`."""
        kind = int(JournalEntry.Kind.CONFIG)
        row = (self.position + 1, kind, None, "", at, "", 0, len(config), config)
        self._append([row])

    def _append(self, rows: list[_Row]) -> None:
        if not rows:
            return
        self.ready()
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.executemany(self._insert, rows)
        except IntegrityError as error:
            raise Displaced(str(error)) from error
        self.position += len(rows)

    def written(self) -> bool:
        """After a commit of which nobody knows whether it succeeded: whether anything is there
        past `position`. No other process writes while this one owns the engine.
        """
        self.ready()
        return JournalEntry.objects.filter(position__gt=self.position).exists()

    def ready(self) -> None:
        """Connect where there is no connection, with short waits: a request waits for each."""
        connection.ensure_connection()
        if connection.connection is self._session:
            return
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute(f"PRAGMA busy_timeout = {LOCK_MS}")
            else:
                cursor.execute(f"SET lock_timeout = {LOCK_MS}")
                cursor.execute(f"SET statement_timeout = {STATEMENT_MS}")
        self._session = connection.connection
