"""A server as the internet meets it: DEBUG off, behind a proxy that speaks TLS for it."""

import http.client
from pathlib import Path
from typing import Any, NamedTuple

from tests.server import Server

HOST = "lens.example"
# Random enough for `check --deploy`, and in no use anywhere.
KEY = "j8Q2-vLw_0mZr7YtK4xPcN1sUeHbG6aD9fXoRiVqTzEyMnBk3W"
OF_THE_PROXY = {"Host": HOST, "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}


class Answer(NamedTuple):
    """headers: names in lower case; of two with one name the last."""

    status: int
    headers: dict[str, str]
    body: bytes


class PublicServer(Server):
    """With DEBUG off, a real key, one host name, and Daphne's --proxy-headers."""

    def __init__(self, folder: Path, template: Path | None = None, **extra: str) -> None:
        public = {"DEBUG": "off", "SECRET_KEY": KEY, "ALLOWED_HOSTS": f"{HOST},127.0.0.1"}
        super().__init__(folder, template, **(public | extra))

    def command(self) -> list[str]:
        return [*super().command(), "--proxy-headers"]

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Ask as the proxy would, for a browser that speaks TLS with it; follows no redirect."""
        return ask(self, method, path, body, OF_THE_PROXY | (headers or {}))


def ask(
    server: Server,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Ask any server, with these very headers, following no redirect; a stream's body is left."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        streams = found.get("content-type", "").startswith("text/event-stream")
        return Answer(response.status, found, b"" if streams else response.read())
    finally:
        connection.close()


def run_in(server: Server, code: str) -> Any:
    """What `code` prints, run by `manage.py shell` in the server's environment."""
    return server.manage("shell", "--verbosity", "0", "-c", code).stdout.strip()
