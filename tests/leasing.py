"""Processes that may own an engine, and do with their lease what a test tells them."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.server import ROOT, environment

DEADLINE_S = 20.0

# A process that does with its lease what it is told, a line at a time, and says what came of it.
SCRIPT = """
import os, subprocess, sys, time
import django
django.setup()
from django.db import connection
from detection.lease import make_lease, owner_name

lease = make_lease()

def fork():
    child = os.fork()
    if child == 0:
        lease.held()
        time.sleep(60)
        os._exit(0)
    return child

def child_holds():
    here, there = os.pipe()
    if os.fork() == 0:
        os.write(there, str(lease.held()).encode())
        os._exit(0)
    os.wait()
    return os.read(here, 10).decode()

def start():
    return subprocess.Popen(["sleep", "60"], close_fds=False).pid

def close():
    connection.close()

def session():
    return connection.connection.info.backend_pid

def locks():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        )
        return cursor.fetchone()[0]

def unlock_all():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s)", [__import__("detection.lease").lease.KEY])
        return cursor.fetchone()[0]

verbs = {f.__name__: f for f in (fork, child_holds, start, close, session, locks, unlock_all)}
verbs |= {name: getattr(lease, name) for name in (
    "acquire", "held", "release", "holder", "taken", "announce")}
verbs["name"] = owner_name
print("ready", flush=True)
for line in sys.stdin:
    try:
        answer = verbs[line.strip()]()
    except Exception as error:
        answer = " ".join(f"{type(error).__name__}: {error}".split())
    print(answer, flush=True)
"""


class Process:
    """One that may own the engine. `say` a verb of the script; a context manager."""

    def __init__(self, url: str, cwd: Path = ROOT, **options: Any) -> None:
        environ = environment(Path("unused")) | {
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "behaviourlens.settings",
            "PYTHONPATH": str(ROOT),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            cwd=cwd,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        self.children: list[int] = []
        assert self._read() == "ready"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, 9)

    def say(self, verb: str) -> str:
        self._process.stdin.write(verb + "\n")
        self._process.stdin.flush()
        return self._read()

    def have(self, verb: str) -> None:
        """Make a child that outlives it for a while."""
        self.children.append(int(self.say(verb)))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def end(self) -> None:
        """Let it come to its own end."""
        self._process.stdin.close()
        self._process.wait(10)

    def _read(self) -> str:
        return self._process.stdout.readline().strip()


def until(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not found():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.01)
