"""How often a page waits for a turn of the event loop: with one thread, less than half as often."""

import asyncio
from typing import Any

from django.core.asgi import get_asgi_application

ONE_THREAD = "detection.one_thread.OneThread"


class Counting(asyncio.SelectorEventLoop):
    """Counts its turns."""

    turns = 0

    def _run_once(self) -> None:
        self.turns += 1
        super()._run_once()  # type: ignore[misc]


def turns(path: str, settings: Any, *middleware: str) -> int:
    """How many turns of the loop it takes to answer `path` 200."""
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != ONE_THREAD]
    settings.MIDDLEWARE += middleware
    application: Any = get_asgi_application()
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
    }
    statuses: list[int] = []

    async def ask() -> None:
        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if asked:
                await asyncio.sleep(3600)  # the client stays
            asked = True
            return {"type": "http.request", "body": b""}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await application(scope, receive, send)

    with asyncio.Runner(loop_factory=Counting) as runner:
        runner.run(ask())  # the first request sets things up
        loop = runner.get_loop()
        assert isinstance(loop, Counting)
        before = loop.turns
        runner.run(ask())
        counted = loop.turns - before
    assert statuses == [200, 200]
    return counted


def test_a_page_waits_for_half_as_many_turns(settings: Any) -> None:
    without = turns("/health", settings)
    assert turns("/health", settings, ONE_THREAD) < without * 0.6
