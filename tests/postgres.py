"""A real PostgreSQL of the test's own: its cluster, its port, its processes."""

import contextlib
import functools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest
from psycopg import sql

ADMIN = "postgres"
ROLE = "behaviourlens"
START_S = 30.0
SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


@functools.cache
def binaries() -> Path | None:
    """Where initdb and postgres are, the newest version first; None without them."""
    debian = Path("/usr/lib/postgresql")
    versions = [path for path in debian.glob("*/bin") if path.parent.name.isdigit()]
    for folder in sorted(versions, key=lambda path: int(path.parent.name), reverse=True):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    found = shutil.which("initdb")
    return Path(found).parent if found and shutil.which("postgres") else None


def available() -> str:
    """Why there can be no cluster here; "" where there can."""
    if binaries() is None:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if os.geteuid() == 0 and _account() is None:
        return "PostgreSQL does not run as root, and there is no user postgres to run it as"
    return ""


def demand() -> None:
    """Skip the test where there can be no cluster; fail it where BL_REQUIRE_POSTGRES=1."""
    if reason := available():
        if os.environ.get("BL_REQUIRE_POSTGRES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


def _account() -> pwd.struct_passwd | None:
    """Who is to run it: nobody else unless we are root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postgres:
    """A cluster in a folder of its own; a context manager that leaves nothing behind.

    Anyone on this machine may connect. `settings` are those of postgresql.conf; a crash of the
    machine would cost data (fsync is off), a crash of PostgreSQL does not.
    """

    def __init__(self, **settings: str) -> None:
        if reason := available():
            raise RuntimeError(reason)
        self.port = _free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="behaviourlens-postgres-"))
        self._settings = {"fsync": "off", "full_page_writes": "off"} | settings
        self._process: subprocess.Popen[bytes] | None = None
        self._made = 0

    def __enter__(self) -> Self:
        try:
            self._create()
            self.start()
            with self.admin() as connection:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(ROLE)))
            self.database(ROLE)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        return self.url_of(ROLE)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def url_of(self, name: str) -> str:
        """The DATABASE_URL of one of its databases."""
        return f"postgres://{ROLE}@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert not self.running(), "it runs already"
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        with self.log.open("ab") as log:
            self._process = self._spawn(
                ["postgres", "-D", self._data, "-k", self.folder, "-p", self.port, *settings], log
            )
        deadline = time.monotonic() + START_S
        while self.running() and time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError), self.admin(connect_timeout=2):
                return
            time.sleep(0.05)
        self.stop("immediate")
        raise RuntimeError(f"PostgreSQL did not start:\n{self.log.read_text()}")

    def stop(self, mode: str = "fast") -> None:
        """End it. fast: sessions are told to go; immediate: as if it had crashed."""
        if self._process is None or not self.running():
            return
        self.resume()
        self._process.send_signal(SIGNALS[mode])
        self._process.wait(START_S)

    def pause(self) -> None:
        """Nothing is answered any more, and nothing is closed either."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)  # first, so that it makes no more of them
        self._signal_children(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._signal_children(signal.SIGCONT)
        os.kill(self._process.pid, signal.SIGCONT)

    def admin(self, name: str = ADMIN, **options: Any) -> psycopg.Connection[Any]:
        """A connection that may do everything, each statement for itself."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=ADMIN, dbname=name, autocommit=True, **options
        )

    def database(self, name: str = "", template: str = "template1") -> str:
        """Make a database, a copy of `template`; its DATABASE_URL."""
        self._made += 1
        name = name or f"test_{self._made}"
        statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}")
        with self.admin() as connection:
            connection.execute(statement.format(*map(sql.Identifier, (name, ROLE, template))))
        return self.url_of(name)

    def connections(self, name: str = "") -> int:
        """How many clients are connected, to one database or to any; this question aside."""
        with self.admin() as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                " AND pid <> pg_backend_pid() AND (%(name)s = '' OR datname = %(name)s)",
                {"name": name},
            ).fetchone()
        assert row is not None
        return int(row[0])

    def terminate(self, name: str) -> int:
        """End every session of a database; how many there were."""
        with self.admin() as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            ).fetchall()
        return len(ended)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _create(self) -> None:
        account = _account()
        assert account is not None
        os.chown(self.folder, account.pw_uid, account.pw_gid)
        with self.log.open("wb") as log:
            os.chown(self.log, account.pw_uid, account.pw_gid)
            options = ["--auth=trust", f"--username={ADMIN}", "--encoding=UTF8", "--locale=C"]
            made = self._spawn(["initdb", "-D", self._data, "--no-sync", *options], log).wait(120)
        if made != 0:
            raise RuntimeError(f"initdb failed:\n{self.log.read_text()}")

    def _spawn(self, command: list[Any], log: Any) -> subprocess.Popen[bytes]:
        folder, account = binaries(), _account()
        assert folder is not None
        assert account is not None
        another: dict[str, Any] = {}
        if account.pw_uid != os.geteuid():
            another = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        return subprocess.Popen(
            [folder / command[0], *map(str, command[1:])],
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an interrupt in the terminal is for the tests
            **another,
        )

    def _signal_children(self, number: signal.Signals) -> None:
        assert self._process is not None
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parent = int(status.read_text().rpartition(")")[2].split()[1])
                if parent == self._process.pid:
                    os.kill(int(status.parent.name), number)
