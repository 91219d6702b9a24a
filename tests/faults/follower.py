"""A client of /api/stream that comes back after every break, as EventSource does."""

import http.client
import threading
import time
from typing import Self

from tests.sse import EventSource, Message

CHANNEL = "changes-1"


class Follower:
    """Hears every change of the site from the first on; a context manager.

    heard: the messages about patterns, in the order in which they came, over all connections.
    """

    def __init__(self, *urls: str) -> None:
        """urls: of the servers; after a break the next one is asked."""
        self.heard: list[Message] = []
        self.connections = 0
        self.resets = 0
        self._urls = urls
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ending.set()
        self._thread.join(30)

    @property
    def sequences(self) -> list[int]:
        return [message.sequence for message in list(self.heard)]

    def check(self, newest: int, timeout: float = 20.0) -> None:
        """It hears of every change up to `newest`, each once and in order."""
        deadline = time.monotonic() + timeout
        while len(self.heard) < newest and time.monotonic() < deadline:
            time.sleep(0.02)
        assert self.sequences == list(range(1, newest + 1))
        assert self.resets == 0

    def _run(self) -> None:
        turn, last = 0, f"{CHANNEL}:0"
        while not self._ending.is_set():
            url = self._urls[turn % len(self._urls)]
            turn += 1
            try:
                source = EventSource(f"{url}/api/stream", last)
            except (OSError, http.client.HTTPException):
                self._ending.wait(0.1)
                continue
            with source:
                if source.response.status == 200:
                    self.connections += 1
                    last = self._listen(source, last)
            self._ending.wait(0.1)

    def _listen(self, source: EventSource, last: str) -> str:
        """Until the stream ends or this does; the last id heard."""
        taken = 0
        while True:
            ended = source.ended.wait(0.05)
            messages = list(source.messages)
            for message in messages[taken:]:
                last = message.id or last
                if message.event == "pattern":
                    self.heard.append(message)
                elif message.event == "stream-reset":
                    self.resets += 1
            taken = len(messages)
            if self._ending.is_set() or (ended and taken == len(source.messages)):
                return last
