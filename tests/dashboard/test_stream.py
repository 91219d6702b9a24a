"""GET /stream, from a real server: what an open dashboard hears."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse

import pytest

from tests.dashboard.markup import Markup
from tests.server import Server

DEADLINE_S = 15.0


class Heard:
    """The events of one open stream, as an EventSource would get them."""

    def __init__(self, response: HTTPResponse) -> None:
        self._response = response
        self.last_id = ""

    def next(self, name: str) -> str:
        """The data of the next event of that name; those before it are passed over."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            event, data = self._block()
            if event == name:
                return data
        raise AssertionError(f"no {name} was heard")

    def _block(self) -> tuple[str, str]:
        event, data = "", []
        while line := self._response.readline().decode().rstrip("\n"):
            field, _, value = line.partition(": ")
            if field == "event":
                event = value
            elif field == "data":
                data.append(value)
            elif field == "id":
                self.last_id = value
        return event, "\n".join(data)


@contextmanager
def listening(server: Server, last_id: str = "") -> Iterator[Heard]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
    connection.request("GET", "/stream", headers={"Last-Event-ID": last_id} if last_id else {})
    try:
        yield Heard(connection.getresponse())
    finally:
        connection.close()


def sits_idle(server: Server, user_id: str, ms: int = 12_000) -> None:
    """A visitor sits on checkout: one hesitation."""
    now = int(time.time() * 1000)
    fields = {"user_id": user_id, "page": "/checkout", "timestamp": now}
    idle = {"action": "idle", "metadata": {"duration_ms": str(ms)}}
    assert server.post([fields | {"action": "navigate"}, fields | idle])[0] == 202


def test_it_tells_figures_sessions_and_rows(server: Server) -> None:
    with listening(server) as heard:
        assert "Total events" in heard.next("metrics")
        sits_idle(server, "v/1")
        rows = Markup(heard.next("rows"))
        assert rows.all("a", class_="visitor-link")[0]["data-visitor"] == "v/1"
        assert rows.all(hx_swap_oob="innerHTML:#latest")
        assert 'data-visitor="v/1"' in heard.next("sessions")
    assert heard.last_id == "rows-1:1"


def test_the_row_is_the_one_the_page_shows(server: Server) -> None:
    with listening(server) as heard:
        sits_idle(server, "v")
        sent = heard.next("rows").partition("<template>")[0]
    assert sent in server.request("GET", "/")[2].decode()


def test_who_comes_back_gets_what_they_missed_once(server: Server) -> None:
    with listening(server) as heard:
        sits_idle(server, "before")
        heard.next("rows")
    missed = ["missed-1", "missed-2"]
    for user_id in missed:
        sits_idle(server, user_id)
    server.wait_for("/api/patterns", lambda found: len(found) == 3)
    with listening(server, heard.last_id) as again:
        rows = Markup(again.next("rows"))
        assert [link["data-visitor"] for link in rows.all("a", class_="visitor-link")][:2] == missed
        sits_idle(server, "after")
        assert len(Markup(again.next("rows")).rows) == 1
    assert again.last_id == "rows-1:4"


def test_resolving_is_heard_by_every_dashboard(server: Server) -> None:
    sits_idle(server, "v")
    [pattern] = server.wait_for("/api/patterns", lambda found: len(found) == 1)
    with listening(server) as one, listening(server) as other:
        one.next("stream-open")
        other.next("stream-open")
        server.request("PATCH", f"/api/patterns/{pattern['pattern_id']}/resolve")
        for heard in (one, other):
            row = Markup(heard.next("rows")).all("li", class_="pattern")[0]
            assert row["data-state"] == "resolved"


@pytest.mark.parametrize("last_id", ["nonsense", "changes-1:1", "rows-2:1"])
def test_a_place_it_never_gave_is_refused(server: Server, last_id: str) -> None:
    status, _, _ = server.request("GET", "/stream", headers={"Last-Event-ID": last_id})
    assert status == 400
