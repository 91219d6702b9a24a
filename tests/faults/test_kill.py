"""kill -9, again and again, under load: whatever was answered 202 is kept, and nothing twice."""

import contextlib
import itertools
import random
import re
import time

import pytest

from tests.faults.conftest import MakeServer, Record
from tests.faults.follower import Follower
from tests.faults.hurried import ALWAYS
from tests.faults.ledger import Ledger
from tests.server import Server
from tests.traffic import Traffic

# Seconds; each start has another one than the start before, so that the journal holds them all.
GRACES = itertools.cycle(("2", "3", "5"))
TIMES = {"sqlite": 20, "postgres": 5}
FROM_SNAPSHOT = re.compile("Recovered from the snapshot up to")
TYPES = {"hesitation", "navigation-loop", "abandonment"}


def killed_while_it_starts(server: Server, rng: random.Random) -> int:
    """Now and then it is killed before it is back, whatever it is doing by then; how often."""
    times = 0
    while rng.random() < 0.25:
        server.launch()
        time.sleep(rng.uniform(0.2, 1.2))  # luck is the point here
        server.kill()
        times += 1
    return times


@pytest.mark.timeout(280)
def test_nothing_is_lost_or_doubled(
    make_server: MakeServer, record: Record, request: pytest.FixtureRequest
) -> None:
    kind = request.node.callspec.params["make_server"]
    rng = random.Random(f"kill {kind}")
    server = make_server(BL_LEAVE_GRACE=next(GRACES))
    traffic = Traffic(server, seed=kind, careless=0.05, nameless=0.05)
    recovery: list[float] = []
    early = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(server)
        ledger = Ledger(server.target)
        followers = [stack.enter_context(Follower(server.url)) for _ in range(3)]
        stack.enter_context(traffic)
        for _ in range(TIMES[kind]):
            traffic.wait_for(20)
            time.sleep(rng.uniform(0, 1.2))  # at no moment in particular
            server.kill()
            server.configure(BL_LEAVE_GRACE=next(GRACES))
            server.hurry = {} if server.hurry else ALWAYS
            early += killed_while_it_starts(server, rng)
            recovery.append(server.start_ready())
            ledger.check(traffic)
        traffic.stop()
        ledger.settle(traffic, server)
        newest = ledger.database.newest_change()
        for follower in followers:
            follower.check(newest)
            assert follower.connections > TIMES[kind]
        assert server.stop() == 0
    record(f"kill -9, {kind}", TIMES[kind] + early, ledger, traffic, recovery)
    assert {pattern.type for pattern in ledger.reference.patterns().values()} == TYPES
    assert ledger.configurations > TIMES[kind] / 2
    log = server.said()
    assert "Traceback" not in log, log
    assert len(FROM_SNAPSHOT.findall(log)) >= TIMES[kind] // 4, "hardly ever from a snapshot"
    assert "cannot be used" not in log
