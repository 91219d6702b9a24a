"""Many distinct visitors through a real server, and what it holds of them meanwhile."""

import http.client
import itertools
import json
import queue
import re
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.server import Server

A_REQUEST = 200  # visitors
# The fattest metadata that is allowed: 16 keys of 64 characters, values of 512.
FAT = {f"{number:02}".ljust(64, "k"): "v" * 512 for number in range(16)}
SENDERS = 2
_SAMPLE = re.compile(r"^behaviourlens_(\w+)(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)


class Sample(NamedTuple):
    """How things stand after so many visitors. rss, held, journal: MB."""

    seconds: float
    sent: int
    rss: float
    visitors: int
    held: float
    evicted: int
    journal: float


def bodies(visitors: int, name: str) -> Iterator[bytes]:
    """Requests of so many visitors: most with a few light events, every tenth with the fattest;
    and at each hundredth one who alone sends a window full of them.
    """
    for first in range(0, visitors, A_REQUEST):
        events: list[dict[str, Any]] = []
        for number in range(first, min(first + A_REQUEST, visitors)):
            who = f"{name}-{number}"
            events += [_event(who, "navigate", page) for page in ("/", "/cart", "/checkout")]
            if number % 10 == 0:
                events.append(_event(who, "click", "/checkout", FAT))
        yield _body(events)
        for _ in range(A_REQUEST // 100):
            yield _body([_event(f"{name}-{first}", "click", "/checkout", FAT) for _ in range(100)])


def _event(who: str, action: str, page: str, metadata: Any = None) -> dict[str, Any]:
    return {"user_id": who, "action": action, "page": page, "metadata": metadata, "timestamp": 0}


def _body(events: list[dict[str, Any]]) -> bytes:
    return json.dumps({"sent_at": 0, "events": events}, separators=(",", ":")).encode()


def flood(server: Server, visitors: int, samples: int, name: str = "v") -> Iterator[Sample]:
    """Send so many new visitors as fast as they are taken; `samples` readings on the way."""
    began = time.monotonic()
    each = visitors // samples
    for turn in range(samples):
        _send(server, bodies(each, f"{name}{turn}"))
        yield _reading(server, time.monotonic() - began, (turn + 1) * each)


def _send(server: Server, what: Iterator[bytes]) -> None:
    waiting: queue.Queue[bytes | None] = queue.Queue(maxsize=4)
    failures: list[BaseException] = []
    senders = [
        threading.Thread(target=_sender, args=(server, waiting, failures)) for _ in range(SENDERS)
    ]
    for sender in senders:
        sender.start()
    for body in itertools.chain(what, [None] * SENDERS):
        waiting.put(body, timeout=60)
        if failures:
            break
    for sender in senders:
        sender.join(120)
    if failures:
        raise failures[0]


def _sender(
    server: Server, waiting: "queue.Queue[bytes | None]", failures: list[BaseException]
) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    try:
        while (body := waiting.get()) is not None:
            while (status := _post(connection, body)) == 503:
                time.sleep(0.05)
            assert status == 202, status
    except (OSError, http.client.HTTPException, AssertionError) as error:
        failures.append(error)
        while waiting.get() is not None:
            pass
    finally:
        connection.close()


def _post(connection: http.client.HTTPConnection, body: bytes) -> int:
    connection.request("POST", "/events", body)
    response = connection.getresponse()
    response.read()
    return response.status


def _reading(server: Server, seconds: float, sent: int) -> Sample:
    told = dict(_SAMPLE.findall(server.request("GET", "/metrics")[2].decode()))
    return Sample(
        seconds,
        sent,
        server.rss(),
        int(float(told["visitors"])),
        float(told["window_bytes"]) / 1_000_000,
        int(float(told["evicted_visitors_total"])),
        float(told.get("journal_bytes", 0)) / 1_000_000,
    )
