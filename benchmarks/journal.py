"""What the journal costs a request: the latency of 202 with BL_JOURNAL on and off, in one run.

    python -m benchmarks.journal [--rounds 6] [--requests 500] [--events 10]

Two real servers; the rounds alternate between them, so that what the machine does meanwhile meets
both. A steady rate well below what the server can take: the latency is the request's own.
"""

import argparse
import http.client
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path

from tests.server import Server

PAGES = ("/", "/products", "/search", "/cart", "/about")
CONNECTIONS = 4
RATE = 100  # requests a second, each with its own visitor's envelope


def envelope(name: str, number: int, events: int) -> bytes:
    now = time.time_ns() // 1_000_000
    visitor = f"{name}-{number % 500}"
    return json.dumps(
        {
            "batch": f"{name}-{number}",
            "sent_at": now,
            "events": [
                {
                    "user_id": visitor,
                    "action": "navigate" if n == 0 else "click",
                    "page": PAGES[(number + n) % len(PAGES)],
                    "timestamp": now - events + n,
                    "metadata": {"target": "button.buy"},
                }
                for n in range(events)
            ],
        }
    ).encode()


def one_round(server: Server, name: str, first: int, requests: int, events: int) -> list[float]:
    """Latencies in ms of so many requests, each answered 202."""
    took: list[float] = []

    def send(start: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        due = time.perf_counter()
        for number in range(first + start, first + requests, CONNECTIONS):
            due += CONNECTIONS / RATE
            time.sleep(max(0.0, due - time.perf_counter()))
            body = envelope(name, number, events)
            began = time.perf_counter()
            connection.request("POST", "/events", body)
            answer = connection.getresponse()
            answer.read()
            took.append((time.perf_counter() - began) * 1000)
            if answer.status != 202:
                raise RuntimeError(f"answered {answer.status}")
        connection.close()

    senders = [threading.Thread(target=send, args=(n,)) for n in range(CONNECTIONS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--requests", type=int, default=500, help="of a round and server")
    parser.add_argument("--events", type=int, default=10, help="in an envelope")
    options = parser.parse_args()
    modes = {"off": {"BL_JOURNAL": "off"}, "on": {}, "full": {"BL_JOURNAL_SYNC": "full"}}
    servers = {
        name: Server(Path(tempfile.mkdtemp(prefix=f"journal-{name}-")), None, **extra)
        for name, extra in modes.items()
    }
    took: dict[str, list[float]] = {name: [] for name in modes}
    try:
        for server in servers.values():
            server.start()
        for turn in range(options.rounds + 1):
            for name, server in servers.items():
                first = turn * options.requests
                found = one_round(server, f"r{turn}", first, options.requests, options.events)
                if turn:  # the first warms up
                    took[name] += found
    finally:
        for server in servers.values():
            server.stop()
    print(f"{RATE} requests/s of {options.events} events, {len(took['on']):,} requests each")
    print(f"{'journal':<10}{'median ms':>10}{'p99 ms':>10}{'worst ms':>10}")
    for name, found in took.items():
        p99 = statistics.quantiles(found, n=100)[98]
        print(f"{name:<10}{statistics.median(found):>10.2f}{p99:>10.2f}{max(found):>10.2f}")


if __name__ == "__main__":
    main()
