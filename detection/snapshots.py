"""Snapshots of the engine in the database: written piece by piece, read whole or not at all.

A snapshot counts once its digest is there, which is written last, after every change that the
engine said before it has been stored. So whoever starts from it owes nobody an older change.
"""

import hashlib
import logging
import zlib
from collections.abc import Iterator

import msgspec
from django.db import transaction

from detection.batches import Key, Seen
from detection.clock import now_ms, to_datetime
from detection.engine.engine import Engine
from detection.engine.saving import VERSION, SnapshotUnusable
from detection.models import Snapshot, SnapshotPart

logger = logging.getLogger(__name__)

# A part is a row: large enough to be few, small enough that writing one holds up nobody.
PART_BYTES = 2_000_000

_encode = msgspec.msgpack.encode
_keys = msgspec.msgpack.Decoder(list[Key])
_pieces = msgspec.msgpack.Decoder(list[bytes])
_Stats = dict[str, dict[str, int]]


class Beginning(msgspec.Struct, frozen=True):
    """What a snapshot says ahead of its pieces.

    position: of the journal. clock: the engine's time, epoch ms. stats: the counts of each site.
    keys: the ids of the batches seen. changes: how many changes must be stored before it counts.
    """

    position: int
    clock: int
    stats: _Stats
    keys: list[Key]
    changes: int


class Writing:
    """A snapshot being written, by one thread. Nothing of it counts until `finish`."""

    def __init__(self, beginning: Beginning) -> None:
        self._row = Snapshot.objects.create(
            position=beginning.position,
            version=VERSION,
            clock=beginning.clock,
            stats=beginning.stats,
            taken_at=to_datetime(now_ms()),
        )
        self._digest = hashlib.blake2b(digest_size=32)
        self._pieces: list[bytes] = []
        self._waiting = 0
        self.add(_encode(beginning.keys))

    @property
    def pk(self) -> int:
        return self._row.pk

    def add(self, piece: bytes) -> None:
        """Take a piece; now and then a part is written."""
        self._pieces.append(piece)
        self._waiting += len(piece)
        if self._waiting >= PART_BYTES:
            self._write()

    def finish(self) -> None:
        """All pieces are there: from now on it counts."""
        if self._pieces:
            self._write()
        self._row.digest = self._digest.hexdigest()
        self._row.save()

    def drop(self) -> None:
        """It will not be finished."""
        Snapshot.objects.filter(pk=self._row.pk).delete()

    def _write(self) -> None:
        body = zlib.compress(_encode(self._pieces), level=1)
        SnapshotPart.objects.create(snapshot=self._row, number=self._row.parts, body=body)
        self._digest.update(body)
        self._row.parts += 1
        self._row.size += len(body)
        self._pieces = []
        self._waiting = 0


def write(beginning: Beginning, pieces: Iterator[bytes]) -> None:
    """A whole snapshot at once, in one commit: the clean end of a process."""
    with transaction.atomic():
        writing = Writing(beginning)
        for piece in pieces:
            writing.add(piece)
        writing.finish()


def stats_of(engine: Engine) -> _Stats:
    """The running counts of every site, as JSON holds them."""
    return {str(site): counts for site, counts in engine.tallies().items()}


def newest() -> list[Snapshot]:
    """The snapshots that count, the newest first."""
    return list(Snapshot.objects.exclude(digest="").order_by("-pk"))


def load(row: Snapshot) -> tuple[Engine, Seen]:
    """The engine and the batches seen. Raises SnapshotUnusable, whatever is wrong with it."""
    if row.version != VERSION:
        raise SnapshotUnusable(f"it is of version {row.version}, and this is version {VERSION}")
    pieces = _read(row)
    try:
        seen = Seen(_keys.decode(next(pieces)))
        return Engine.restored(pieces), seen
    except (msgspec.MsgspecError, StopIteration) as error:
        raise SnapshotUnusable(f"a part cannot be read: {error}") from None


def _read(row: Snapshot) -> Iterator[bytes]:
    digest = hashlib.blake2b(digest_size=32)
    for number in range(row.parts):
        part = SnapshotPart.objects.filter(snapshot=row, number=number).first()
        if part is None:
            raise SnapshotUnusable(f"part {number} of {row.parts} is missing")
        body = bytes(part.body)
        digest.update(body)
        try:
            pieces = _pieces.decode(zlib.decompress(body))
        except (zlib.error, msgspec.MsgspecError) as error:
            raise SnapshotUnusable(f"part {number} cannot be read: {error}") from None
        yield from pieces
    if digest.hexdigest() != row.digest:
        raise SnapshotUnusable("its digest does not match")
