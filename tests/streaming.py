"""Helpers for tests of streams: listening, and changes by the thousand."""

import contextlib
import sqlite3
import time
from pathlib import Path

from tests.events import loop, visitor
from tests.server import Server, manage
from tests.sse import EventSource, Message

API = "/api/stream"
DASHBOARD = "/stream"

_WRITE = """
import uuid
from detection import store
from detection.clock import now_ms
from detection.engine.patterns import Severity
from tests.making import escalated, opened
now = now_ms()
ids = [uuid.uuid4().hex for _ in range({patterns})]
text = "A low thing. " + "x" * {fat}
said = {{"facts": {{}}, "events": [], "text": text}}
store.apply(opened(one, evidence=said, detected_at=now) for one in ids)
store.apply(escalated(one, Severity.HIGH, at=now) for one in ids[: {worse}])
"""


def listen(server: Server, last_event_id: str = "", query: str = "") -> EventSource:
    return EventSource(server.url + API + query, last_event_id).opened()


def newest(server: Server) -> int:
    with contextlib.closing(sqlite3.connect(server.database, timeout=20)) as database:
        return int(database.execute("select last_change from detection_site").fetchone()[0])


def make_patterns(server: Server, count: int, visits: int = 5) -> None:
    """Each of `count` new visitors loops: one change each with 5 visits, two with 7; stored."""
    expected = newest(server) + count * (2 if visits == 7 else 1)
    events = [step for _ in range(count) for step in loop(visitor(), visits=visits)]
    for first in range(0, len(events), 1000):
        assert server.post(events[first : first + 1000])[0] == 202
    deadline = time.monotonic() + 20
    while newest(server) < expected:
        assert time.monotonic() < deadline, "never stored"
        time.sleep(0.01)


def write(database: Path | str, patterns: int, worse: int = 0, fat: int = 0) -> None:
    """Have another process store patterns at once, then escalate the first `worse` of them.

    fat: bytes more in each pattern's evidence.
    """
    code = _WRITE.format(patterns=patterns, worse=worse, fat=fat)
    manage(database, "shell", "--no-imports", "-c", code)


def sequences(messages: list[Message]) -> list[int]:
    return [message.sequence for message in messages]
