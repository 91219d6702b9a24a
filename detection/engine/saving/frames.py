"""The frame around each piece of a snapshot: it tells a whole piece from any other bytes."""

import struct
import zlib
from typing import Final

VERSION: Final[int] = 1  # of the saved form; raised with any change in it

_MAGIC: Final = b"BLens"
_HEAD: Final = struct.Struct(">5sHI")  # magic, version, CRC-32 of what follows


class SnapshotUnusable(Exception):
    """These pieces are no snapshot that this version can restore; the message says why."""


def framed(body: bytes) -> bytes:
    """The body with its frame."""
    return _HEAD.pack(_MAGIC, VERSION, zlib.crc32(body)) + body


def unframed(piece: bytes) -> bytes:
    """The body of a piece. Raises SnapshotUnusable."""
    if len(piece) < _HEAD.size:
        raise SnapshotUnusable("a piece is cut short")
    magic, version, checksum = _HEAD.unpack_from(piece)
    if magic != _MAGIC:
        raise SnapshotUnusable("a piece is no piece of a snapshot")
    if version != VERSION:
        raise SnapshotUnusable(f"it has version {version}, this is version {VERSION}")
    body = piece[_HEAD.size :]
    if zlib.crc32(body) != checksum:
        raise SnapshotUnusable("a piece is damaged")
    return body
