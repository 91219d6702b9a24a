"""What the server sees: the query API's stream of patterns, or its list where that fails.

The stream is followed from where it broke off, and after every break the list is read as
well, so that nothing is missed. A server that lets nobody read is said so, once.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from demo_store.simulator.client import absence
from demo_store.simulator.ledger import Ledger

RETRY_S: Final = 2.0
PAGE: Final = 500
MOST_PAGES: Final = 40
LARGEST_EVENT: Final = 8 * 1024 * 1024
TIMEOUT: Final = aiohttp.ClientTimeout(total=10, connect=5)
# The stream sends its figures every 5 s; a silence much longer is a dead connection.
STREAM_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=5, sock_read=45)


class UnreadableError(Exception):
    """The server answers, but not with patterns."""


@dataclass
class ServerEvent:
    """One Server-Sent Event."""

    event: str = "message"
    data: str = ""
    id: str = ""


class Parser:
    """Server-Sent Events out of bytes as they come; lines end in LF or CRLF."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        self._buffer += chunk.replace(b"\r", b"")
        if len(self._buffer) > LARGEST_EVENT:
            raise UnreadableError("the stream sends an event without end")
        *whole, self._buffer = self._buffer.split(b"\n\n")
        for block in whole:
            parsed = self._parse(block.decode(errors="replace"))
            if parsed.data or parsed.event != "message":
                yield parsed

    def _parse(self, block: str) -> ServerEvent:
        parsed = ServerEvent()
        lines: list[str] = []
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                lines.append(value)
            elif name == "event":
                parsed.event = value
            elif name == "id":
                parsed.id = value
        parsed.data = "\n".join(lines)
        return parsed


class Watcher:
    """Books every pattern that the server tells of. since_ms: epoch ms at which the run began."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, ledger: Ledger, since_ms: int
    ) -> None:
        self._session = session
        self._url = url
        self._ledger = ledger
        self._since_ms = since_ms
        self._last_id = ""
        self.ready = asyncio.Event()  # it listens, or knows that it cannot

    async def run(self) -> None:
        """Follow the stream for ever; where it breaks off, catch up from the list."""
        while True:
            try:
                async for told in self._stream():
                    self._take(told)
                await self.catch_up()  # ended in good order: the server restarts, perhaps
            except (aiohttp.ClientError, OSError, UnreadableError):
                await self.catch_up()
            self.ready.set()
            await asyncio.sleep(RETRY_S)

    async def catch_up(self) -> None:
        """Read the list of patterns back to the start of the run."""
        try:
            before = ""
            for _ in range(MOST_PAGES):
                page = await self._page(before)
                for pattern in page:
                    self._ledger.sight(pattern)
                if len(page) < PAGE or page[-1].get("detected_at", 0) < self._since_ms:
                    break
                before = str(page[-1].get("pattern_id", ""))
            self._ledger.blind = ""
        except UnreadableError as error:
            self._ledger.blind = str(error)
        except (aiohttp.ClientError, OSError) as error:
            self._ledger.blind = absence(error)

    async def _page(self, before: str) -> list[dict[str, Any]]:
        query = {"limit": str(PAGE)} | ({"before": before} if before else {})
        async with self._session.get(
            f"{self._url}/api/patterns", params=query, timeout=TIMEOUT, allow_redirects=False
        ) as response:
            if response.status != 200:
                raise UnreadableError(f"/api/patterns answers {response.status}")
            try:
                page = json.loads(await response.read())
            except ValueError:
                page = None
        if not isinstance(page, list) or not all(isinstance(entry, dict) for entry in page):
            raise UnreadableError("/api/patterns answers something other than a list of patterns")
        return page

    async def _stream(self) -> AsyncIterator[ServerEvent]:
        headers = {"Accept": "text/event-stream"}
        if self._last_id:
            headers["Last-Event-ID"], self._last_id = self._last_id, ""
        async with self._session.get(
            f"{self._url}/api/stream",
            headers=headers,
            timeout=STREAM_TIMEOUT,
            allow_redirects=False,
        ) as response:
            if response.status != 200 or response.content_type != "text/event-stream":
                raise UnreadableError(f"/api/stream answers {response.status}")
            parser = Parser()
            async for chunk in response.content.iter_any():
                for told in parser.feed(chunk):
                    yield told

    def _take(self, told: ServerEvent) -> None:
        if told.event == "stream-error":
            raise UnreadableError("/api/stream refuses")
        self.ready.set()
        self._ledger.blind = ""
        if told.event == "stream-reset":
            raise UnreadableError("/api/stream has lost the place")
        if told.id:
            self._last_id = told.id
        if told.event != "pattern":
            return
        try:
            pattern = json.loads(told.data)
        except ValueError:
            return
        if isinstance(pattern, dict):
            self._ledger.sight(pattern)
