"""A real BehaviourLens: its own process, its own database, its own port."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
START_S = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(database: Path | str, **extra: str) -> dict[str, str]:
    """The machine's environment without what would change the server, and with `extra`.

    database: SQLite's file, or a whole DATABASE_URL.
    """
    ours = ("BL_", "PORT", "DEBUG", "SECRET_KEY", "DATABASE_URL", "ALLOWED_HOSTS", "DJANGO_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {
        "DATABASE_URL": database if isinstance(database, str) else f"sqlite:///{database}",
        "SECRET_KEY": "a key for the tests of this one server",
        "BL_RATE_LIMIT": "off",  # a test's visitors all have one address
        **extra,
    }


def manage(database: Path | str, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a management command against `database`; fails where the command fails."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(database, **extra),
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )


class Server:
    """Daphne serving behaviourlens.asgi on a free port; a context manager."""

    def __init__(
        self,
        folder: Path,
        template: Path | None = None,
        *,
        database_url: str = "",
        **extra: str,
    ) -> None:
        """Serve from a database in `folder`, copied from `template` (migrated) or made new; or
        from the one at `database_url`, which has been migrated. `folder` keeps the log.
        """
        self.database = folder / "db.sqlite3"
        self.target: Path | str = database_url or self.database
        if not database_url and not self.database.exists():
            if template is not None:
                shutil.copy(template, self.database)
            else:
                manage(self.database, "migrate", "--verbosity", "0", **extra)
        self.log = folder / "server.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._extra = extra
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def command(self) -> list[str]:
        daphne = [sys.executable, "-m", "daphne", "-v", "0", "-b", "127.0.0.1"]
        return [*daphne, "-p", str(self.port), "behaviourlens.asgi:application"]

    def beside(self, folder: Path, **extra: str) -> "Server":
        """Another server on the same database, with a port and a log of its own."""
        folder.mkdir(exist_ok=True)
        url = self.target if isinstance(self.target, str) else f"sqlite:///{self.target}"
        return Server(folder, None, database_url=url, **(self._extra | extra))

    def configure(self, **extra: str) -> None:
        """Change its environment, from its next start on."""
        self._extra = self._extra | extra

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a management command in its environment; fails where the command fails."""
        return manage(self.target, *arguments, **self._extra)

    def launch(self) -> None:
        """Start the process and wait for nothing."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=ROOT,
                env=environment(self.target, PORT=str(self.port), **self._extra),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start(self) -> None:
        """Start the process, and wait until it is well."""
        self.launch()
        self._until(lambda: self.get("/health")["status"] == "ok", START_S)

    def start_waiting(self) -> None:
        """Start the process, and wait until it answers: that it takes no events."""
        self.launch()
        self._until(lambda: not self.ready(), START_S)

    def start_ready(self, timeout: float = START_S) -> float:
        """Start the process, and wait until it takes events; how long that took, seconds."""
        self.launch()
        return self.wait_ready(timeout)

    def wait_ready(self, timeout: float = START_S) -> float:
        """Wait until it takes events; how long that took, seconds."""
        began = time.monotonic()
        self._until(self.ready, timeout)
        return time.monotonic() - began

    def ready(self) -> bool:
        """Whether it takes events now. Raises OSError where nobody listens."""
        status, _, body = self.request("GET", "/ready")
        if status == 404:  # a version that does not say
            return bool(self.get("/health")["status"] == "ok")
        assert status in {200, 503}, (status, body)
        return status == 200

    def _until(self, holds: Callable[[], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.exit_code is not None:
                break
            with contextlib.suppress(OSError, http.client.HTTPException):
                if holds():
                    return
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"the server did not start:\n{self.log.read_text()}")

    @property
    def exit_code(self) -> int | None:
        """What it ended with; None while it runs. Below 0: the signal that killed it."""
        return None if self.process is None else self.process.poll()

    def rss(self) -> float:
        """What it holds in memory now, MB."""
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1_000_000

    def said(self, after: int = 0) -> str:
        """Its log, from a place that `said_so_far` gave."""
        return self.log.read_bytes()[after:].decode()

    def said_so_far(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def stop(self, timeout: float = 30.0) -> int | None:
        """SIGTERM, and wait for the end; its exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body, whatever the status."""
        request = urllib.request.Request(
            self.url + path, data=body, method=method, headers=headers or {}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, _lower(response.headers), response.read()
        except urllib.error.HTTPError as error:
            return error.code, _lower(error.headers), error.read()

    def get(self, path: str) -> Any:
        return json.loads(self.request("GET", path)[2])

    def post(self, payload: object) -> tuple[int, Any]:
        """Send events; status and answer."""
        status, _, body = self.request("POST", "/events", json.dumps(payload).encode())
        return status, json.loads(body)

    def wait_for(self, path: str, found: Any, timeout: float = 10.0) -> Any:
        """GET until `found(answer)` holds; the answer."""
        deadline = time.monotonic() + timeout
        while True:
            answer = self.get(path)
            if found(answer):
                return answer
            if time.monotonic() > deadline:
                raise AssertionError(f"{path} never became so; it says {answer!r}")
            time.sleep(0.05)


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
