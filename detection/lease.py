"""The lease: of all processes on one database, one owns the engine, and the others wait.

It is a lock that ends with its process, however that ends, so nobody ever waits for the dead and no
clock is compared. On PostgreSQL it belongs to the very session that writes the journal: who has
lost it can write nothing. On SQLite, whose file has one machine, it is a lock on a file beside the
database. The row in the table Owner is for people to read, and tells whether the database takes
writes; it decides nothing.
"""

import contextlib
import os
import socket
from abc import ABC, abstractmethod
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from django.db import Error, OperationalError, connection
from filelock import FileLock, Timeout

from detection.clock import now_ms, to_datetime
from detection.models import Owner

# One key for every BehaviourLens: an advisory lock of PostgreSQL counts within its database.
KEY: Final = int.from_bytes(b"BehavLns")
OWNER_PK: Final = 1
# A system check may have the file for a moment; longer than that, another process owns it. Seconds.
WAIT_S: Final = 0.05
POLL_S: Final = 0.01


class LeaseTrouble(OperationalError):
    """The lease can be neither had nor refused; or it is not held, and so nothing is written."""


def owner_name() -> str:
    """How this process is named to people."""
    return f"{socket.gethostname()} pid {os.getpid()}"[:200]


class Lease(ABC):
    """One per process. Every method is called from one thread, on its own connection; `holder` and
    `taken` may be called from any.
    """

    def __init__(self) -> None:
        self._since: datetime | None = None

    @abstractmethod
    def acquire(self) -> bool:
        """Whether this process owns the engine now. Takes a moment at most, and may be repeated.

        Raises LeaseTrouble, or what the database raises.
        """

    @abstractmethod
    def held(self) -> bool:
        """Whether it is certainly still ours. Cheap enough to be asked before every write."""

    @abstractmethod
    def release(self) -> None:
        """Let another process own the engine. Never fails: the end of the process does it too."""

    @abstractmethod
    def taken(self) -> bool:
        """Whether any process holds it, this one included; False where that cannot be told.

        To be told to people, since it may change at once. Raises what the database raises.
        """

    def holder(self) -> str:
        """Who announced itself last: `web1 pid 123 since 2026-01-31 10:00:00 UTC`, or ""."""
        try:
            owner = Owner.objects.filter(pk=OWNER_PK).first()
        except Error:
            return ""
        if owner is None:
            return ""
        since = f" since {owner.since:%Y-%m-%d %H:%M:%S} UTC" if owner.since else ""
        return owner.name + since if owner.name else ""

    def announce(self) -> None:
        """Write who the owner is, and that it is alive: a real write, and so the proof that the
        database takes writes. Raises what the database raises; LeaseTrouble where it is not held.
        """
        if not self.held():
            raise LeaseTrouble("the lease on the engine is not held")
        row = {"name": owner_name(), "since": self._since, "alive_at": to_datetime(now_ms())}
        if not Owner.objects.filter(pk=OWNER_PK).update(**row):
            Owner.objects.create(pk=OWNER_PK, **row)

    def _begin(self) -> None:
        self._since = to_datetime(now_ms())


class FileLease(Lease):
    """A lock on `<database>.owner`, for SQLite. The file stays; only its lock counts.

    A child process does not inherit it. If somebody removes or replaces the file, whoever locked it
    knows that by `held`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._path = Path()
        self._lock: FileLock | None = None
        self._file = (0, 0)  # device and number of the file that is locked

    def acquire(self) -> bool:
        if self.held():
            return True
        self.release()
        path = lease_file()
        lock = _file_lock(path, on_acquired=self._locked)
        try:
            lock.acquire()
        except Timeout:
            return False
        except OSError as error:
            reason = error.strerror or str(error)
            raise LeaseTrouble(f"the file {path} cannot be locked: {reason}") from error
        self._path, self._lock = path, lock
        self._begin()
        return True

    def held(self) -> bool:
        if self._lock is None or not self._lock.is_locked:
            return False
        try:
            return _identity(self._path.stat(follow_symlinks=False)) == self._file
        except OSError:
            return False

    def release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None and lock.is_locked:
            with contextlib.suppress(OSError):
                lock.release()

    def taken(self) -> bool:
        if self.held():
            return True
        path = lease_file()
        if not path.exists():
            return False
        probe = _file_lock(path, timeout=0)
        try:
            probe.acquire()
        except Timeout:
            return True
        except OSError:
            return False
        probe.release()
        return False

    def _locked(self, descriptor: int) -> None:
        self._file = _identity(os.fstat(descriptor))


def lease_file() -> Path:
    """The file beside the SQLite database, the same by whatever name the database is reached."""
    database = Path(connection.settings_dict["NAME"]).resolve()
    return database.with_name(f"{database.name}.owner")


def _file_lock(path: Path, **options: Any) -> FileLock:
    """A lock by the kernel or none at all, which belongs to the process and not to a thread."""
    fixed: dict[str, Any] = {"thread_local": False, "fallback_to_soft": False}
    return FileLock(path, **{"timeout": WAIT_S, "poll_interval": POLL_S} | fixed | options)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


class SessionLease(Lease):
    """An advisory lock of the PostgreSQL session of this thread's connection.

    PostgreSQL frees it when the session ends, for whatever reason. A connection pooler between must
    hold one session for one client (PgBouncer: pool_mode = session): one that hands a session on
    after each transaction would hand on the lease with it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._session: Any = None  # psycopg's connection, by which the lock was taken
        self._guarded = False

    def acquire(self) -> bool:
        # Once a session: PostgreSQL counts how often it is taken, and would want it back as often.
        if self.held():
            return True
        self._session = None
        if connection.connection is not None and connection.connection.closed:
            connection.close()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [KEY])
            taken: bool = cursor.fetchone()[0]
        if taken:
            self._guard_children()
            self._session = connection.connection
            self._begin()
        return taken

    def held(self) -> bool:
        session = self._session
        if session is None or session.closed or connection.connection is not session:
            return False
        try:
            with connection.wrap_database_errors:
                # Reads what lies there unread, which in a session at rest is only its end: first
                # the server's farewell, then that nothing more will come. Never waits.
                session.pgconn.consume_input()
                session.pgconn.consume_input()
        except Error:
            return False
        return not session.closed

    def release(self) -> None:
        if self.held():
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_unlock(%s)", [KEY])
            except Error:
                connection.close()  # and with the session ends its lock
        self._session = None

    def taken(self) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                " AND classid = %s AND objid = %s AND objsubid = 1)",
                [KEY >> 32, KEY & 0xFFFF_FFFF],
            )
            found: bool = cursor.fetchone()[0]
        return found

    def _guard_children(self) -> None:
        """A forked child would keep the session open after this process, and the lease with it."""
        if not self._guarded:
            self._guarded = True
            os.register_at_fork(after_in_child=self._leave_in_child)

    def _leave_in_child(self) -> None:
        session, self._session = self._session, None
        if session is not None and not session.closed:
            # Only this process's end of it: to close the session itself would end the parent's.
            os.close(session.pgconn.socket)


def make_lease() -> Lease:
    """The lease of the default database. Takes nothing yet, and asks no database."""
    return SessionLease() if connection.vendor == "postgresql" else FileLease()
