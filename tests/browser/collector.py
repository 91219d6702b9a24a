"""A small real server for the tracker: pages with a strict CSP, the script, and what is sent.

It answers POST /events as it is told to, and keeps what it received. Browsers reach it as
127.0.0.1 and as localhost, which are two origins.
"""

import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

SCRIPT = Path(__file__).resolve().parents[2] / "detection" / "tracker" / "lens.js"
CSP = "default-src 'none'; script-src 'self'; connect-src 'self'; frame-src 'self'; img-src data:"
BODY = """<main id="main"><h1>A page</h1><a id="next" href="/other">Other page</a></main>"""
TAG = '<script src="/lens.js" data-site="k" defer></script>'
DEADLINE_S = 8.0


class Received:
    """One POST: its envelope, headers, arrival (epoch s), and the status it was answered with."""

    def __init__(self, body: bytes, headers: dict[str, str], status: int) -> None:
        self.body = body
        self.envelope: dict[str, Any] = json.loads(body)
        self.headers = headers
        self.at = time.time()
        self.status = status

    @property
    def events(self) -> list[dict[str, Any]]:
        return list(self.envelope["events"])


class Collector:
    """A context manager. `pages` holds what stands at a path; any other path is a plain page."""

    def __init__(self, port: int = 0) -> None:
        self.pages: dict[str, str] = {}
        self.scripts: dict[str, str] = {}
        self.csp: str | None = CSP
        self.received: list[Received] = []
        self.plan: deque[tuple[str, dict[str, str]]] = deque()
        self.default = ("202", dict[str, str]())
        self.released = threading.Event()
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def page(self, path: str, tag: str = TAG, body: str = BODY) -> str:
        """Put a page at `path`; returns its address."""
        self.pages[path] = (
            f"<!doctype html><html lang=en><title>{path}</title><link rel=icon href=data:,>"
            f"<body>{body}{tag}</body></html>"
        )
        return self.url + path

    def script(self, path: str, source: str) -> str:
        """Put a script at `path`; returns a tag that runs it before the tracker's."""
        self.scripts[path] = source
        return f'<script src="{path}"></script>'

    def answer(self, *statuses: str, **headers: str) -> None:
        """How the next POSTs are met: a status, or `hang` (until `released`), or `drop`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.plan.extend((status, named) for status in statuses)

    def always(self, status: str) -> None:
        self.default = (status, {})

    # --- what came ---------------------------------------------------------------------
    @property
    def accepted(self) -> list[dict[str, Any]]:
        """The events of all requests answered 202, in order of arrival."""
        with self._changed:
            return [event for one in self.received if one.status == 202 for event in one.events]

    def actions(self) -> list[str]:
        return [event["action"] for event in self.accepted]

    def of(self, action: str) -> list[dict[str, Any]]:
        return [event for event in self.accepted if event["action"] == action]

    def wait_for(
        self, ready: Callable[[], Any], what: str = "", seconds: float = DEADLINE_S
    ) -> Any:
        """Wait until `ready()` gives something true, looked at again after each request."""
        end = time.monotonic() + seconds
        while not (found := ready()):
            left = end - time.monotonic()
            if left <= 0:
                bodies = [one.envelope for one in self.received]
                raise AssertionError(f"not within {seconds} s: {what}; received {bodies}")
            with self._changed:
                self._changed.wait(min(left, 0.1))
        return found

    def wait_event(
        self, action: str, count: int = 1, seconds: float = DEADLINE_S
    ) -> dict[str, Any]:
        """The `count`-th accepted event with that action."""
        self.wait_for(lambda: len(self.of(action)) >= count, f"{count} × {action}", seconds)
        return self.of(action)[count - 1]

    def wait_received(self, count: int, seconds: float = DEADLINE_S) -> list[Received]:
        self.wait_for(lambda: len(self.received) >= count, f"{count} requests", seconds)
        return self.received

    def _keep(self, received: Received) -> None:
        with self._changed:
            self.received.append(received)
            self._changed.notify_all()

    def _next_answer(self) -> tuple[str, dict[str, str]]:
        with self._changed:
            return self.plan.popleft() if self.plan else self.default

    # --- the protocol ------------------------------------------------------------------
    def _handler(collector) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - two selves
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet: pytest shows what matters."""

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/lens.js":
                    self.send(200, SCRIPT.read_bytes(), "application/javascript; charset=utf-8")
                elif path in collector.scripts:
                    source = collector.scripts[path].encode()
                    self.send(200, source, "application/javascript; charset=utf-8")
                elif path.startswith("/static-empty"):
                    self.send(200, b"", "text/plain")
                else:
                    if path not in collector.pages:
                        collector.page(path)
                    self.send(200, collector.pages[path].encode(), "text/html; charset=utf-8")

            def do_OPTIONS(self) -> None:
                collector._keep(Received(b'{"events":[]}', dict(self.headers), 204))
                self.send(204, b"", "text/plain")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                how, headers = collector._next_answer()
                status = int(how) if how.isdigit() else 0
                collector._keep(Received(body, dict(self.headers), status))
                if how == "hang":
                    collector.released.wait(30)
                    how = "drop"
                if how == "drop":
                    # A reset, not an orderly end.
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                    self.connection.close()
                    return
                answer = {"status": "accepted"} if status < 300 else {"error": {"code": "told_so"}}
                self.send(status, json.dumps(answer).encode(), "application/json", headers)

            def send(
                self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None
            ) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                # Chromium quietly repeats a request whose reused connection breaks.
                self.send_header("Connection", "close")
                self.send_header("Access-Control-Allow-Origin", "*")
                self.send_header("Access-Control-Expose-Headers", "Retry-After")
                if kind.startswith("text/html") and collector.csp:
                    self.send_header("Content-Security-Policy", collector.csp)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        return Handler
