"""System checks of what a deployment may get wrong about its database.

Django runs them where it runs checks of a database: `migrate`, and `check --database default`.
Each says what it means and what to do; none of them fails where the database cannot be asked.
What it may get wrong about who is let in is in detection/exposure.py; docs/security.md has all.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import DEFAULT_DB_ALIAS, Error, connection

from detection.lease import make_lease

# With less, the journal of a busy site holds minutes, and without a snapshot that can be read a
# recovery wants two hours of it.
LEAST_JOURNAL_MB: Final = 64
# As Linux names them.
NETWORK_FILE_SYSTEMS: Final = frozenset(
    {"afs", "beegfs", "ceph", "cifs", "lustre", "nfs", "nfs4", "smb3", "smbfs"}
    | {"fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"}
)
MOUNTS: Final = Path("/proc/self/mounts")

Asked = Sequence[str] | None


def _about_ours(databases: Asked) -> bool:
    return databases is not None and DEFAULT_DB_ALIAS in databases


@register(Tags.database)
def one_owner(databases: Asked = None, **others: Any) -> list[CheckMessage]:
    """detection.W001: another process runs the engine of this database."""
    if not _about_ours(databases):
        return []
    lease = make_lease()
    try:
        taken = lease.taken()
    except (Error, OSError):
        return []
    if not taken:
        return []
    who = lease.holder() or "one that has not said its name yet"
    hint = (
        "A second server answers POST /events with 503 and waits until that process ends. In a "
        "rolling restart (docs/operations.md) that is as it should be; otherwise stop one of the "
        "two, or give it a database of its own by DATABASE_URL."
    )
    said = f"Another process runs the engine of this database: {who}."
    return [Warning(said, hint=hint, id="detection.W001")]


@register(Tags.database)
def journal_on(databases: Asked = None, **others: Any) -> list[CheckMessage]:
    """detection.W002: what is accepted is not kept."""
    if not _about_ours(databases) or settings.BL_JOURNAL:
        return []
    hint = (
        "After a restart the windows, the attempts, the running counts and the patterns that were "
        "forming are gone, and a batch that is sent again counts twice. Set BL_JOURNAL=on to keep "
        "them."
    )
    said = "BL_JOURNAL is off: accepted events are in memory only, and end with the process."
    return [Warning(said, hint=hint, id="detection.W002")]


@register(Tags.database)
def local_file(databases: Asked = None, **others: Any) -> list[CheckMessage]:
    """detection.W003: SQLite on a network file system."""
    if not _about_ours(databases) or connection.vendor != "sqlite":
        return []
    database = Path(connection.settings_dict["NAME"])
    try:
        system = file_system(database.resolve(), MOUNTS.read_text().splitlines())
    except (OSError, ValueError):
        return []
    if system not in NETWORK_FILE_SYSTEMS:
        return []
    hint = (
        "Its locks and its write-ahead log need a disk of this machine: elsewhere events can be "
        "lost, and two servers can run an engine each. Move it, or set DATABASE_URL to a "
        "PostgreSQL database."
    )
    said = f"The SQLite database {database} is on a network file system ({system})."
    return [Warning(said, hint=hint, id="detection.W003")]


@register(Tags.database)
def journal_large_enough(databases: Asked = None, **others: Any) -> list[CheckMessage]:
    """detection.W004: the journal's bound leaves too little of it."""
    most = settings.BL_JOURNAL_MAX_MB
    if not _about_ours(databases) or not settings.BL_JOURNAL or most >= LEAST_JOURNAL_MB:
        return []
    hint = (
        "Where a snapshot cannot be read, as after some upgrades, the engine is recovered from the "
        "last two hours of the journal; what is missing there is missing in its windows. Set "
        f"BL_JOURNAL_MAX_MB to {LEAST_JOURNAL_MB} or more."
    )
    said = f"BL_JOURNAL_MAX_MB is {most}: of a busy site the journal holds minutes."
    return [Warning(said, hint=hint, id="detection.W004")]


def file_system(path: Path, mounts: Iterable[str]) -> str:
    """The type of the file system that `path` (absolute) is on; "" if that is not told.

    mounts: lines as in /proc/self/mounts. Of two at one place the later covers the earlier.
    """
    found, deepest = "", 0
    for line in mounts:
        _, name, system, *_ = line.split(" ")
        # Spaces and backslashes in a name are written as octal escapes.
        place = Path(name.encode("latin-1", "backslashreplace").decode("unicode_escape"))
        if path.is_relative_to(place) and len(place.parts) >= deepest:
            found, deepest = system, len(place.parts)
    return found
