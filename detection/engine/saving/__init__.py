"""Saving the engine in slices, and restoring it exactly.

`records` is the saved form, `capture` writes it, `restoring` reads it.
"""

from .capture import Capture
from .frames import VERSION, SnapshotUnusable

__all__ = ["VERSION", "Capture", "SnapshotUnusable"]
