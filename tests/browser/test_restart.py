"""The server goes and comes back under a dashboard that somebody has left open."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.events import loop
from tests.server import Server
from tests.sse import EventSource
from tests.streaming import newest, write

SHORTLY = 10_000
# A browser tries again after some seconds, and a server takes some to start.
BACK = 30_000
# What Chromium says of a connection that it cannot make, or that is answered 503; and htmx, which
# reports the error event of the EventSource as it is.
NETWORK = re.compile(
    r"Failed to load resource: (net::|.*status of 503)|net::ERR_|^\[object Event\]$"
)

NewContext = Callable[..., BrowserContext]


class Dashboard:
    """An open dashboard, and all that its page has complained of."""

    def __init__(self, server: Server, new_context: NewContext) -> None:
        self.complaints: list[str] = []
        self.streams: list[str] = []
        self.page: Page = new_context(viewport={"width": 1100, "height": 700}).new_page()
        self.page.on("console", lambda said: self._hear(said.type, said.text))
        self.page.on("pageerror", lambda error: self._hear("error", str(error)))
        self.page.on("request", lambda request: self._follow(request.url))
        self.page.goto(server.url)
        self.is_now("live")

    def _hear(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"} and not NETWORK.search(text):
            self.complaints.append(text)

    def _follow(self, url: str) -> None:
        if urlsplit(url).path == "/stream":
            self.streams.append(url)

    def is_now(self, state: str, timeout: int = SHORTLY) -> None:
        badge = self.page.locator(".connection")
        expect(badge).to_have_attribute("data-state", state, timeout=timeout)

    def rows(self, visitor: str = "") -> Locator:
        # By what the row says: its visitor's name stands in its text.
        found = self.page.locator("#feed .rows > .pattern")
        return found.filter(has_text=visitor) if visitor else found

    def picture(self, name: str) -> None:
        """Keep a picture, where a folder for them is named."""
        if folder := os.environ.get("BL_PICTURES"):
            self.page.screenshot(path=Path(folder) / f"{name}.png")


def say(server: Server, visitor: str) -> None:
    assert server.post(loop(visitor))[0] == 202


@pytest.mark.parametrize("end", [Server.stop, Server.kill], ids=["SIGTERM", "kill -9"])
def test_a_restart_costs_a_blink_of_the_connection_state(
    tmp_path: Path, migrated: Path, new_context: NewContext, end: Callable[[Server], object]
) -> None:
    with Server(tmp_path, migrated) as server:
        dashboard = Dashboard(server, new_context)
        say(server, "before")
        expect(dashboard.rows("before")).to_have_count(1, timeout=SHORTLY)

        end(server)
        dashboard.is_now("lost")
        dashboard.picture(f"lost-{end.__name__}")
        write(server.target, patterns=3, worse=2)  # by another process, while nobody serves
        server.start_ready()
        say(server, "during")
        dashboard.is_now("live", timeout=BACK)
        say(server, "after")

        for visitor in ("before", "during", "after"):
            expect(dashboard.rows(visitor)).to_have_count(1, timeout=SHORTLY)
        expect(dashboard.rows()).to_have_count(6)
        named = dashboard.rows().evaluate_all("rows => rows.map(row => row.dataset.patternId)")
        assert len(set(named)) == 6
        worse = dashboard.page.locator("#feed .pattern[data-severity=high]")
        expect(worse).to_have_count(2)
        dashboard.picture(f"back-{end.__name__}")
        assert dashboard.complaints == []


def test_a_stream_that_is_refused_for_a_while_goes_on_from_where_it_was(
    tmp_path: Path, migrated: Path, new_context: NewContext
) -> None:
    """The browser gives up an EventSource that is answered 503; the page opens another."""
    with Server(tmp_path, migrated, BL_MAX_STREAMS="1") as server:
        dashboard = Dashboard(server, new_context)
        say(server, "before")
        expect(dashboard.rows("before")).to_have_count(1, timeout=SHORTLY)
        reached = newest(server)
        server.stop()
        dashboard.is_now("lost")
        server.start_ready()
        with EventSource(server.url + "/stream").opened():  # faster than the browser
            with dashboard.page.expect_response(
                lambda answer: answer.status == 503 and "/stream" in answer.url, timeout=BACK
            ):
                pass
            say(server, "during")
            dashboard.is_now("lost")
        dashboard.is_now("live", timeout=BACK)
        say(server, "after")
        for visitor in ("before", "during", "after"):
            expect(dashboard.rows(visitor)).to_have_count(1, timeout=SHORTLY)
        asked = [parse_qs(urlsplit(url).query)["lastEventId"][0] for url in dashboard.streams]
        assert asked[0] == "rows-1:0"
        assert asked[-1] == f"rows-1:{reached}"
        assert dashboard.complaints == []
