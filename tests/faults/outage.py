"""What every fault of the database has in common, seen from outside."""

import itertools
import time
from contextlib import AbstractContextManager
from typing import Any

from tests.events import event
from tests.faults.ledger import Ledger
from tests.server import Server
from tests.traffic import Traffic

REFUSES = "The database refuses"
ANSWERS_AGAIN = "The database answers again"
_probes = itertools.count(1)


def probe(server: Server) -> tuple[int, Any, float]:
    """Send one event, as anyone would; status, answer and how long that took, seconds."""
    number = next(_probes)
    began = time.monotonic()
    status, answer = server.post([event(f"probe-{number}", metadata={"n": f"probe-{number}"})])
    return status, answer, time.monotonic() - began


def refuses(server: Server, within: float = 3.0) -> None:
    """It says 503 for the database's sake, that it is not ready, and that it is not well."""
    status, answer, took = probe(server)
    assert (status, answer["error"]["code"]) == (503, "database"), answer
    assert took < within
    assert not server.ready()
    assert server.get("/health")["status"] == "degraded"


def goes_through(
    server: Server,
    traffic: Traffic,
    ledger: Ledger,
    outage: AbstractContextManager[object],
    seconds: float = 3.0,
) -> float:
    """`outage` comes under load, stays for `seconds`, and goes; how long until events are taken
    again, seconds. Meanwhile nothing is accepted, and the log says it once.
    """
    traffic.wait_for(30)
    said = server.said_so_far()
    with outage:
        is_degraded(server)
        refused = traffic.refusals["database"]
        refuses(server)
        accepted = len(traffic.accepted)
        time.sleep(seconds)  # the fault's own length
        assert traffic.refusals["database"] > refused
        assert len(traffic.accepted) == accepted
        refuses(server)
    took = is_well(server)
    traffic.wait_for(30)
    ledger.check(traffic)
    said_once(server, said)
    return took


def is_degraded(server: Server, timeout: float = 15.0) -> None:
    server.wait_for("/health", lambda told: told["status"] == "degraded", timeout)


def is_well(server: Server, timeout: float = 20.0) -> float:
    """Wait until it is ready and well; how long that took, seconds."""
    took = server.wait_ready(timeout)
    server.wait_for("/health", lambda told: told["status"] == "ok", timeout)
    return took


def said_once(server: Server, since: int) -> None:
    log = server.said(since)
    assert log.count(REFUSES) == 1, log
    assert log.count(ANSWERS_AGAIN) == 1, log
    assert "Traceback" not in log, log
