"""What outlives a process: sites, patterns and every step that a pattern took, what was accepted,
who may ask for it, and what was erased.
"""

from detection.models.callers import ApiToken
from detection.models.erasures import Erasure
from detection.models.keeping import JournalEntry, Owner, Snapshot, SnapshotPart
from detection.models.patterns import (
    Pattern,
    PatternChange,
    PatternQuerySet,
    SeverityChoice,
    normal,
)
from detection.models.refused import RefusedSender
from detection.models.sites import DEFAULT_SITE_ID, Site, new_key

__all__ = [
    "DEFAULT_SITE_ID",
    "ApiToken",
    "Erasure",
    "JournalEntry",
    "Owner",
    "Pattern",
    "PatternChange",
    "PatternQuerySet",
    "RefusedSender",
    "SeverityChoice",
    "Site",
    "Snapshot",
    "SnapshotPart",
    "new_key",
    "normal",
]
