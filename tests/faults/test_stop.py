"""SIGTERM under load: the process ends in order, and the next one goes on where it ended."""

import re
import time

import pytest

from tests.faults.conftest import MakeServer, Record
from tests.faults.ledger import Ledger
from tests.traffic import Traffic

TIMES = {"sqlite": 10, "postgres": 3}
FROM_SNAPSHOT = re.compile(r"Recovered from the snapshot up to ([\d,]+) and ([\d,]+) entr")


def test_nothing_is_lost_or_doubled(
    make_server: MakeServer, record: Record, request: pytest.FixtureRequest
) -> None:
    kind = request.node.callspec.params["make_server"]
    recovery: list[float] = []
    server = make_server(BL_LEAVE_GRACE="2")
    with server, Traffic(server, careless=0.05, nameless=0.05) as traffic:
        ledger = Ledger(server.target)
        for turn in range(TIMES[kind]):
            traffic.wait_for(20)
            time.sleep(0.1 * (turn % 4))
            before = server.said_so_far()
            assert server.stop() == 0
            assert "All that was accepted has been handled; stopped." in server.said(before)
            before = server.said_so_far()
            recovery.append(server.start_ready())
            found = FROM_SNAPSHOT.search(server.said(before))
            assert found, server.said(before)
            assert found[2] == "0", "the snapshot was taken before the end"
            ledger.check(traffic)
        traffic.stop()
        ledger.settle(traffic, server)
        assert server.stop() == 0
        assert "Traceback" not in server.said()
    record(f"SIGTERM, {kind}", TIMES[kind], ledger, traffic, recovery)
