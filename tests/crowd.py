"""Many clients of one stream, each on a socket of its own, heard by one thread."""

import contextlib
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlsplit

_KEPT = re.compile(rb"event: (?:pattern|rows)\nid: [a-z]+-\d+:(\d+)\n")


class Client:
    """One of a crowd. sequences: the ids of the kept events it has heard, in their order."""

    def __init__(self, request: bytes, address: tuple[str, int]) -> None:
        self.sequences: list[int] = []
        self.opened = False
        self.resets = 0
        self.ended = False
        self.said = b""  # its last words, whole while it is not open
        self.socket = socket.create_connection(address, 30)
        self.socket.sendall(request)

    @property
    def status(self) -> int:
        return int(self.said.split(b" ", 2)[1])

    def hear(self, part: bytes) -> None:
        text = self.said + part
        # The end of a block may be on its way, and may bear the mark of a chunk within it.
        text, rest = _whole_blocks(text)
        self.opened = self.opened or b"event: stream-open" in text
        self.resets += text.count(b"event: stream-reset")
        self.sequences += map(int, _KEPT.findall(text))
        self.said = rest


def _whole_blocks(text: bytes) -> tuple[bytes, bytes]:
    if b"event: " not in text:
        return b"", text
    cut = text.rfind(b"\n\n")
    return (b"", text) if cut < 0 else (text[: cut + 2], text[cut + 2 :])


class Crowd:
    """Connects all of its clients at once; a context manager."""

    def __init__(self, url: str, count: int, last_event_id: str = "") -> None:
        parts = urlsplit(url)
        assert parts.port is not None
        asked = f"{parts.path}?{parts.query}" if parts.query else parts.path
        # HTTP/1.0, so that no mark of a chunk falls into the text.
        request = f"GET {asked} HTTP/1.0\r\nHost: {parts.netloc}\r\n"
        if last_event_id:
            request += f"Last-Event-ID: {last_event_id}\r\n"
        address = (parts.hostname or "", parts.port)
        self.clients = [Client(request.encode() + b"\r\n", address) for _ in range(count)]
        self._selector = selectors.DefaultSelector()
        for client in self.clients:
            client.socket.setblocking(False)
            self._selector.register(client.socket, selectors.EVENT_READ, client)
        self._stopping = False
        self._thread = threading.Thread(target=self._listen, name="crowd", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping = True
        self._thread.join(10)
        for client in self.clients:
            client.socket.close()
        self._selector.close()

    def wait_for(self, holds: Callable[[Client], Any], timeout: float = 60.0) -> None:
        """Wait until something holds of every client."""
        deadline = time.monotonic() + timeout
        while lacking := [client for client in self.clients if not holds(client)]:
            if time.monotonic() > deadline:
                one = lacking[0]
                raise AssertionError(
                    f"{len(lacking)} of {len(self.clients)} never got there; one of them has heard"
                    f" {len(one.sequences)}, and {one.said[:300]!r}"
                )
            time.sleep(0.05)

    def _listen(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select(0.1):
                client: Client = key.data
                part = b""
                with contextlib.suppress(ConnectionError):
                    part = client.socket.recv(262_144)
                if part:
                    client.hear(part)
                else:
                    client.ended = True
                    self._selector.unregister(client.socket)
