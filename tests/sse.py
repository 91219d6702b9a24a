"""A small client of Server-Sent Events over a real socket, that remembers all it heard."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit


class Message(NamedTuple):
    """One event of a stream. id: the last id given so far, as EventSource keeps it."""

    event: str
    data: str
    id: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def sequence(self) -> int:
        return int(self.id.rpartition(":")[2])


class EventSource:
    """Connects at once; a thread listens until the stream ends or `close`. A context manager.

    room: what its socket holds for it while it does not read, bytes (0: the system's choice).
    """

    def __init__(self, url: str, last_event_id: str = "", *, room: int = 0, **headers: str) -> None:
        parts = urlsplit(url)
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        self._connection.connect()
        if room:
            self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self._connection.request("GET", url.partition(parts.netloc)[2], headers=headers)
        self._socket = self._connection.sock
        self.response = self._connection.getresponse()
        self.messages: list[Message] = []
        self.ended = threading.Event()
        self._heard = threading.Condition()
        self._reading = threading.Event()
        self._reading.set()
        self._thread = threading.Thread(target=self._listen, name="listener", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def pause(self) -> None:
        """Read no more, but stay connected."""
        self._reading.clear()

    def resume(self) -> None:
        self._reading.set()

    def close(self) -> None:
        self.resume()
        with contextlib.suppress(OSError):  # the server was faster
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self.response.close()
        self._connection.close()
        self._socket.close()

    def named(self, event: str) -> list[Message]:
        return [message for message in list(self.messages) if message.event == event]

    def wait_for(
        self, found: Callable[[list[Message]], bool], event: str = "pattern", timeout: float = 10.0
    ) -> list[Message]:
        """The messages called `event`, as soon as `found` says that they are what it wants."""
        deadline = time.monotonic() + timeout
        with self._heard:
            while not found(self.named(event)):
                left = deadline - time.monotonic()
                if left <= 0 or self.ended.is_set():
                    raise AssertionError(f"never heard it, only {self.messages[-20:]!r}")
                self._heard.wait(left)
        return self.named(event)

    def wait_until(
        self, sequence: int, event: str = "pattern", timeout: float = 60.0
    ) -> list[Message]:
        """The messages called `event`, when one with this sequence or a later one is there."""
        return self.wait_for(
            lambda heard: bool(heard) and heard[-1].sequence >= sequence, event, timeout
        )

    def opened(self) -> Self:
        """Wait until the server has said that the stream is open."""
        self.wait_for(bool, "stream-open")
        return self

    def _listen(self) -> None:
        name, last_id = "message", ""
        data: list[str] = []
        try:
            for raw in self.response:
                self._reading.wait()
                line = raw.decode().rstrip("\n")
                field, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if line == "":
                    if data or name != "message":
                        with self._heard:
                            self.messages.append(Message(name, "\n".join(data), last_id))
                            self._heard.notify_all()
                    name, data = "message", []
                elif field == "event":
                    name = value
                elif field == "id":
                    last_id = value
                elif field == "data":
                    data.append(value)
        except (OSError, http.client.HTTPException, ValueError):
            pass  # closed, by one side or the other
        finally:
            with self._heard:
                self.ended.set()
                self._heard.notify_all()
