"""Whether memory levels off: many distinct visitors through a real server, some of them fat.

    python -m benchmarks.memory [--visitors 1000000] [--most-mb 256]

Every visitor sends three events; one in ten with the fattest metadata that is allowed. Prints the
server's resident memory as it goes, and what the engine says it holds and has let go.
"""

import argparse
import http.client
import json
import re
import tempfile
import time
from pathlib import Path

from tests.server import Server

FAT = {f"key {n}": "x" * 512 for n in range(16)}
EVENTS = 3
FAT_ONE_IN = 10


def body(first: int, visitors: int) -> bytes:
    now = time.time_ns() // 1_000_000
    said = []
    for number in range(first, first + visitors):
        metadata = FAT if number % FAT_ONE_IN == 0 else {"target": "button"}
        for page in ("/cart", "/products", f"/products/{number}"):
            said.append(
                {
                    "user_id": f"visitor-{number}",
                    "action": "navigate",
                    "page": page,
                    "timestamp": now,
                    "metadata": metadata,
                }
            )
    return json.dumps({"batch": f"b{first}", "sent_at": now, "events": said}).encode()


def gauge(server: Server, name: str) -> float:
    text = server.request("GET", "/metrics")[2].decode()
    found = re.search(rf"^behaviourlens_{name} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else float("nan")


def send(connection: http.client.HTTPConnection, content: bytes) -> None:
    while True:
        connection.request("POST", "/events", content)
        answer = connection.getresponse()
        answer.read()
        if answer.status == 202:
            return
        if answer.status != 503:
            raise RuntimeError(f"answered {answer.status}")
        time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--visitors", type=int, default=1_000_000)
    parser.add_argument("--most-mb", type=int, default=256)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="memory-"))
    bounds = {"BL_MAX_MEMORY_MB": str(options.most_mb), "BL_JOURNAL_MAX_MB": "512"}
    with Server(folder, None, **bounds) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        began, told = time.monotonic(), 0
        print(f"bound {options.most_mb} MB; at the start {server.rss():.0f} MB resident")
        heads = ("visitors", "seconds", "RSS MB", "held", "window MB", "evicted")
        print("{:>10}{:>9}{:>8}{:>9}{:>11}{:>10}".format(*heads))
        step = 100
        for first in range(0, options.visitors, step):
            send(connection, body(first, min(step, options.visitors - first)))
            if first + step >= told + options.visitors // 20:
                told = first + step
                print(
                    f"{told:>10,}{time.monotonic() - began:>9.0f}{server.rss():>8.0f}"
                    f"{gauge(server, 'visitors'):>9,.0f}"
                    f"{gauge(server, 'window_bytes') / 1e6:>11.0f}"
                    f"{gauge(server, 'evicted_visitors_total'):>10,.0f}",
                    flush=True,
                )
        connection.close()


if __name__ == "__main__":
    main()
