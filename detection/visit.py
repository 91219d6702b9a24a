"""A running server as it is met from outside: what `manage.py doctor --url` finds amiss.

It asks /health, /ready, /metrics, the tracker and a style sheet, as a visitor behind the proxy or
as a neighbour on its machine would.
"""

import json
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from django.conf import settings
from prometheus_client.parser import text_string_to_metric_families

from detection.clock import now_ms
from detection.doctor import CLOCKS_S, Finding
from detection.exposure import ANY
from detection.metrics import PREFIX, scrape_token

TIMEOUT_S: Final = 10.0
# The oldest batch that waits has waited for so long, s. At two seconds the server begins to refuse;
# in good days it is a few ms.
LAG_S: Final = 1.0
NEARLY: Final = 0.9
PAGES: Final = ("/lens.js", "/static/dashboard/dashboard.css")
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Answer(NamedTuple):
    status: int
    body: str
    location: str


class Server:
    """A server at `url`, of which only scheme, host and port count. Raises ValueError for others.

    Where it is asked on its own machine it is asked by the name that its proxy would pass on.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{url!r} is no address like http://127.0.0.1:8000")
        self._host, self._port = parts.hostname, parts.port
        self._secret = parts.scheme == "https"
        self._headers = {"User-Agent": "behaviourlens doctor"}
        if self._host in _LOCAL and not settings.DEBUG:
            named = next((host for host in settings.ALLOWED_HOSTS if host != ANY), self._host)
            self._headers |= {"Host": named.lstrip("."), "X-Forwarded-Proto": "https"}
            # Daphne believes a proxy that names whom it speaks for.
            self._headers["X-Forwarded-For"] = "127.0.0.1"

    def get(self, path: str, **headers: str) -> Answer:
        """Raises OSError or HTTPException where nothing answers."""
        kind = HTTPSConnection if self._secret else HTTPConnection
        connection = kind(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", path, headers=self._headers | headers)
            response = connection.getresponse()
            body = response.read().decode("utf-8", "replace")
            return Answer(response.status, body, response.headers.get("Location", ""))
        finally:
            connection.close()


def findings(url: str) -> Iterator[Finding]:
    """Raises ValueError where `url` is none."""
    server = Server(url)
    try:
        health = server.get("/health")
        told = _json(health)
    except (OSError, HTTPException) as error:
        yield Finding(
            f"Nothing answers at {url}: {error}.",
            "See whether the server runs, on this address and port, and read the end of its log.",
        )
        return
    if "status" not in told and health.status != 503:
        yield Finding(
            f"What answers at {url} is no BehaviourLens: /health says {health.status}.",
            "Give --url the address of the server itself, or have the proxy pass everything on. "
            "400 means a name that ALLOWED_HOSTS does not hold.",
        )
        return
    yield from _health(health, told)
    try:
        yield from _pages(server)
        yield from _metrics(server)
    except (OSError, HTTPException) as error:
        yield Finding(f"{url} has stopped answering: {error}.", "Ask its /health, and its log.")


def _health(health: Answer, told: dict[str, Any]) -> Iterator[Finding]:
    if health.status == 503:
        yield Finding("A thread of the server has ended.", "Restart it; nothing accepted is lost.")
    for reason in told.get("reasons", ()):
        yield Finding(
            f"The server says: {reason}",
            "docs/operations.md has what to do, under “What /ready checks”. Do not restart it: it "
            "comes back by itself.",
        )
    apart = (told.get("timestamp", now_ms()) - now_ms()) / 1000
    if abs(apart) > CLOCKS_S:
        way = "ahead of" if apart > 0 else "behind"
        yield Finding(
            f"The server's clock is {abs(apart):.0f} s {way} this machine's.",
            "Set both by a time server (timedatectl set-ntp true).",
        )


def _pages(server: Server) -> Iterator[Finding]:
    for path in PAGES:
        answer = server.get(path)
        if answer.status == 200:
            continue
        if answer.location.startswith("https:"):
            yield Finding(
                f"The server sends what comes by TLS to TLS again ({path} → {answer.location}).",
                "Start it with daphne --proxy-headers (uvicorn: the same), and have the proxy set "
                "X-Forwarded-Proto. Without TLS, for a trusted local network, there is "
                "BL_INSECURE_HTTP.",
            )
            return
        yield Finding(
            f"{path} is answered {answer.status}, and pages need it.",
            "The copy of the program is not whole, or the proxy passes too little on.",
        )


def _metrics(server: Server) -> Iterator[Finding]:
    answer = server.get("/metrics", Authorization=f"Bearer {scrape_token()}")
    if answer.status != 200:
        yield Finding(
            f"/metrics is answered {answer.status} to the token of this SECRET_KEY.",
            "Run this with the server's own environment: the same SECRET_KEY and DATABASE_URL.",
        )
        return
    values = {
        sample.name.removeprefix(PREFIX): sample.value
        for family in text_string_to_metric_families(answer.body)
        for sample in family.samples
        if not sample.labels
    }
    if values.get("pipeline_lag_seconds", 0) > LAG_S:
        yield Finding(
            f"The pipeline is behind: the oldest batch has waited "
            f"{values['pipeline_lag_seconds']:.1f} s.",
            "More comes than the machine or its database takes. See whether the database is slow "
            "or its disk busy, and who sends so much; BL_RATE_LIMIT bounds each sender.",
        )
    for what, name in (("events wait", "events"), ("changes of patterns wait", "changes")):
        queue = "queue" if name == "events" else "outbox"
        waiting = values.get(f"{queue}_{name}", 0)
        most = values.get(f"{queue}_capacity_{name}", 0)
        if most and waiting > NEARLY * most:
            yield Finding(
                f"The pipeline is behind: {waiting:,.0f} {what}, of {most:,.0f} that may.",
                "See whether the database is slow or its disk busy; docs/operations.md has more.",
            )
    if values.get("engine_answering", 1) == 0:
        yield Finding(
            "The engine has not answered within a second.",
            "If this stays so, ask /health, and restart the server where it says 503.",
        )


def _json(answer: Answer) -> dict[str, Any]:
    try:
        told = json.loads(answer.body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
