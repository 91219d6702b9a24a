"""A server at twice its capacity: who is refused, how soon, and how the rest answers meanwhile.

A real server and, in a process of its own, visitors: first as fast as the server can (capacity),
then at twice that rate over a bounded number of connections, while /health, the dashboard and
/api/stats are asked every 100 ms. At the end every event answered 202 must have been processed.

    python -m benchmarks.overload [seconds] [connections] [events per request]
"""

import argparse
import http.client
import os
import tempfile
import threading
import time
from concurrent.futures import Future
from pathlib import Path

from benchmarks.load import Outcome, Plan, Sender, percentile, statuses
from tests.server import Server

PATHS = ("/health", "/", "/api/stats")
EVERY_S = 0.1
WARM_UP_S = 3.0
CAPACITY_S = 8.0
REFUSED_MS = 50.0
PROBED_MS = 1000.0


class Probe(threading.Thread):
    """Asks one path again and again until told to end; how long each took, ms."""

    def __init__(self, server: Server, path: str) -> None:
        super().__init__(name=path)
        self.path = path
        self.took: list[float] = []
        self.wrong: list[int] = []
        self._port = server.port
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.wait(EVERY_S):
            began = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            connection.request("GET", self.path)
            response = connection.getresponse()
            response.read()
            connection.close()
            self.took.append((time.perf_counter() - began) * 1000)
            if response.status != 200:
                self.wrong.append(response.status)

    def end(self) -> None:
        self._ending.set()
        self.join()


def probed(server: Server, load: "Future[Outcome]") -> tuple[Outcome, list[Probe]]:
    """The outcome of a load, and of the probes while it was on."""
    probes = [Probe(server, path) for path in PATHS]
    for probe in probes:
        probe.start()
    try:
        return load.result(), probes
    finally:
        for probe in probes:
            probe.end()


def row(name: str, took: list[float], bound: float | None = None) -> str:
    p50, p95, p99 = (percentile(took, share) for share in (0.5, 0.95, 0.99))
    verdict = "" if bound is None else ("  ok" if p95 <= bound else f"  above {bound:.0f} ms")
    return f"{name:<14}{len(took):>8}{p50:>9.1f}{p95:>9.1f}{p99:>9.1f}{verdict}"


def report(outcome: Outcome, probes: list[Probe]) -> None:
    print(f"{'answer':<14}{'count':>8}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}")
    for status, took in sorted(outcome.took.items()):
        print(row(str(status), took, REFUSED_MS if status == 503 else None))
    for probe in probes:
        print(row(probe.path, probe.took, PROBED_MS))
        if probe.wrong:
            print(f"  of these {len(probe.wrong)} not 200: {set(probe.wrong)}")
    print(
        f"sent {outcome.sent}, unanswered {len(outcome.unanswered)}, held back for want of a "
        f"connection {outcome.held}, refused without Retry-After {outcome.unsaid}"
    )


def processed(server: Server, expected: int) -> int:
    """Events in the engine, once there are as many as expected, or after 30 s."""
    until = time.monotonic() + 30
    while True:
        total = int(server.get("/api/stats")["total_events"])
        if total >= expected or time.monotonic() > until:
            return total
        time.sleep(0.2)


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    told.add_argument("seconds", type=float, nargs="?", default=20.0)
    told.add_argument("connections", type=int, nargs="?", default=128)
    told.add_argument("events", type=int, nargs="?", default=20)
    asked = told.parse_args()
    load = "{:.1f} {:.1f} {:.1f}".format(*os.getloadavg())
    print(f"{os.cpu_count()} cores, load before: {load}")
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder)) as server,
        Sender() as sender,
    ):
        warm = sender.run(Plan(server.port, WARM_UP_S, events=asked.events, name="warm"))
        full = sender.run(Plan(server.port, CAPACITY_S, events=asked.events, name="full"))
        capacity = full.count(202) / full.seconds
        print(
            f"capacity: {capacity:.0f} requests of {asked.events} events a second"
            f" ({statuses(full)}), p50 {percentile(full.took[202], 0.5):.0f} ms"
        )
        plan = Plan(
            server.port, asked.seconds, asked.connections, 2 * capacity, asked.events, name="over"
        )
        outcome, probes = probed(server, sender.start(plan))
        print(f"\nat {plan.rate:.0f} requests a second for {asked.seconds:.0f} s:")
        report(outcome, probes)
        accepted = sum(len(each.accepted) for each in (warm, full, outcome)) * asked.events
        total = processed(server, accepted)
        print(f"events answered 202: {accepted}, processed: {total}")
        if any(each.unanswered for each in (warm, full, outcome)):
            print("(some were never answered, and may have been processed too)")


if __name__ == "__main__":
    main()
