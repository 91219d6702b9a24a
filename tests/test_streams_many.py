"""Three hundred open streams on a PostgreSQL that allows a hundred connections."""

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.crowd import Crowd
from tests.events import loop, visitor
from tests.postgres import Postgres
from tests.server import Server

STREAMS = 300
BURST = 1000
# Of PostgreSQL's hundred; the rest is for others, and for a second server that takes over.
MOST_CONNECTIONS = 40


@pytest.fixture
def server(tmp_path: Path, postgres_url: str) -> Iterator[Server]:
    with Server(tmp_path, database_url=postgres_url, BL_LOG_LEVEL="WARNING") as running:
        yield running


class Watch:
    """Asks PostgreSQL over and over how many are connected; remembers the most."""

    def __init__(self, postgres: Postgres, url: str) -> None:
        self._postgres = postgres
        self._name = url.rpartition("/")[2]
        self.most = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._thread.join(10)

    def _look(self) -> None:
        while not self._stopping.wait(0.02):
            self.most = max(self.most, self._postgres.connections(self._name))


def newest(url: str) -> int:
    with psycopg.connect(url) as database:
        row = database.execute("select last_change from detection_site where id = 1").fetchone()
    assert row is not None
    return int(row[0])


def burst(server: Server, count: int) -> None:
    """One change each by `count` new visitors."""
    events = [step for _ in range(count) for step in loop(visitor())]
    for first in range(0, len(events), 1000):
        assert server.post(events[first : first + 1000])[0] == 202


@pytest.mark.timeout(300)
def test_three_hundred_streams_hear_a_burst_each_change_once(
    server: Server, postgres: Postgres, postgres_url: str
) -> None:
    with Watch(postgres, postgres_url) as watch:
        with Crowd(server.url + "/api/stream", STREAMS) as crowd:
            crowd.wait_for(lambda client: client.opened)
            began = newest(postgres_url)
            expected = list(range(began + 1, began + BURST + 1))
            burst(server, BURST)
            crowd.wait_for(lambda client: len(client.sequences) >= BURST, 120)
            burst(server, 1)  # a double that came late would come before this one
            crowd.wait_for(lambda client: client.sequences[-1] == expected[-1] + 1)
            for client in crowd.clients:
                assert client.sequences == [*expected, expected[-1] + 1]
                assert client.resets == 0
        # And they all come back at once, as after a restart of the server.
        with Crowd(server.url + "/api/stream", STREAMS, f"changes-1:{began}") as crowd:
            crowd.wait_for(lambda client: len(client.sequences) > BURST, 120)
            for client in crowd.clients:
                assert client.sequences == [*expected, expected[-1] + 1]
                assert client.resets == 0
    assert 1 < watch.most <= MOST_CONNECTIONS
    assert "Traceback" not in server.log.read_text()
