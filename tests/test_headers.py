"""Every kind of answer has the headers that guard it, whoever gave it: a table of both."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.public import OF_THE_PROXY, Answer, PublicServer, ask
from tests.server import Server

APP = "https://app.example"
PREFLIGHT = {"Origin": APP, "Access-Control-Request-Method": "PATCH"}

GUARDS = {
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


class Kind(NamedTuple):
    """A kind of answer: how it is asked for, and its status with DEBUG on and off (0: not so)."""

    path: str
    local: int
    public: int | tuple[int, ...]
    method: str = "GET"
    headers: dict[str, str] = {}


NOT_IN = (302, 401, 403)  # a login is needed, in whichever way that is said
KINDS = {
    "page": Kind("/", 200, NOT_IN),
    "store": Kind("/demo/home", 200, 200),
    "static": Kind("/static/dashboard/dashboard.css", 200, 200),
    "static 304": Kind("/static/dashboard/dashboard.css", 304, 304),
    "static 404": Kind("/static/nothing.css", 404, 404),
    "404": Kind("/nothing", 404, 404),
    "400 bad host": Kind("/", 400, 400, headers={"Host": "evil.example"}),
    "API, bad host": Kind("/api/stats", 400, 400, headers={"Host": "evil.example"}),
    "API, bad host, no TLS": Kind(
        "/api/stats", 400, 400, headers={"Host": "evil.example", "X-Forwarded-Proto": "http"}
    ),
    "redirect": Kind("/demo", 302, 302),
    "to TLS": Kind("/demo/home", 0, 301, headers={"X-Forwarded-Proto": "http"}),
    "API": Kind("/api/patterns", 200, NOT_IN),
    "API docs": Kind("/api/docs", 200, (200, *NOT_IN)),
    "API error": Kind("/api/patterns?limit=x", 400, (400, *NOT_IN)),
    "API 404": Kind("/api/nothing", 404, (404, *NOT_IN)),
    "API 405": Kind("/api/stats", 405, 405, method="DELETE"),
    "events of a visitor": Kind("/events?user_id=nobody", 404, NOT_IN),
    "stream": Kind("/api/stream", 200, NOT_IN),
    "stream of rows": Kind("/stream", 200, NOT_IN),
    "stream error": Kind("/api/stream?lastEventId=x", 400, (400, *NOT_IN)),
    "admin": Kind("/admin/", 302, 302),
    "login": Kind("/admin/login/", 200, 200),
    "CSRF": Kind("/admin/login/", 403, 403, method="POST"),
    "health": Kind("/health", 200, 200),
    "ready": Kind("/ready", 200, 200),
    "metrics": Kind("/metrics", 200, NOT_IN),
    "tracker": Kind("/lens.js", 200, 200),
    "preflight": Kind("/api/patterns/x/resolve", 200, 200, method="OPTIONS", headers=PREFLIGHT),
}
KEPT_BY_NOBODY = {
    "API", "API docs", "API error", "API 404", "API 405", "API, bad host", "API, bad host, no TLS",
    "events of a visitor", "stream error", "health", "ready", "metrics",
}  # fmt: skip


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("local")
    with Server(folder, migrated, BL_API_ORIGINS=APP) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[PublicServer]:
    folder = tmp_path_factory.mktemp("public")
    with PublicServer(folder, migrated, BL_API_ORIGINS=APP) as running:
        running.wait_ready()
        yield running


def answer_of(server: Server, name: str) -> Answer:
    kind = KINDS[name]
    base = OF_THE_PROXY if isinstance(server, PublicServer) else {}
    headers = {**base, **kind.headers}
    if name == "static 304":
        first = ask(server, "GET", kind.path, None, headers)
        headers["If-Modified-Since"] = first.headers["last-modified"]
    return ask(server, kind.method, kind.path, None, headers)


def is_guarded(answer: Answer, name: str) -> None:
    expected = dict(GUARDS)
    if name == "tracker":
        expected["cross-origin-resource-policy"] = "cross-origin"
    found = {header: answer.headers.get(header) for header in expected}
    assert found == expected
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    for feature in ("camera", "geolocation", "microphone", "payment", "usb"):
        assert f"{feature}=()" in answer.headers["permissions-policy"]
    assert len(answer.headers["x-request-id"]) == 32
    if name in KEPT_BY_NOBODY:
        assert "no-store" in answer.headers["cache-control"]


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.local])
def test_on_this_machine(local: Server, name: str) -> None:
    answer = answer_of(local, name)
    assert answer.status == KINDS[name].local, answer.body[:300]
    is_guarded(answer, name)
    assert "strict-transport-security" not in answer.headers


@pytest.mark.parametrize("name", KINDS)
def test_on_the_internet(public: PublicServer, name: str) -> None:
    answer = answer_of(public, name)
    allowed = KINDS[name].public
    assert answer.status in (allowed if isinstance(allowed, tuple) else (allowed,)), answer.body
    is_guarded(answer, name)
    if "no TLS" in name or name == "to TLS":
        assert "strict-transport-security" not in answer.headers, "browsers ignore it there"
    else:
        assert answer.headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize("name", [name for name in KINDS if name.startswith("API, bad host")])
def test_a_host_that_is_not_ours_is_told_in_json(
    local: Server, public: PublicServer, name: str
) -> None:
    for server in (local, public):
        answer = answer_of(server, name)
        assert answer.headers["content-type"] == "application/json"
        assert json.loads(answer.body)["error"]["code"] == "bad_request"
        assert b"evil" not in answer.body


@pytest.mark.parametrize("path", ["/ready", "/metrics", "/health", "/api/x", "/events/x"])
def test_what_is_asked_in_json_is_refused_in_json(public: PublicServer, path: str) -> None:
    answer = ask(public, "DELETE", path, None, OF_THE_PROXY)
    assert answer.status in {404, 405}
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body)["error"]["message"]


def test_an_error_keeps_the_headers_of_the_page_it_replaces(local: Server) -> None:
    headers = {"Origin": APP}
    answer = ask(local, "GET", "/api/nothing", None, headers)
    assert answer.status == 404
    assert answer.headers["access-control-allow-origin"] == APP
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert ask(local, "DELETE", "/api/stats").headers["allow"] == "GET"


def test_files_are_for_our_own_pages(local: Server) -> None:
    answer = answer_of(local, "static")
    assert "access-control-allow-origin" not in answer.headers


def test_the_preflight_names_one_origin(local: Server, public: PublicServer) -> None:
    for server in (local, public):
        assert answer_of(server, "preflight").headers["access-control-allow-origin"] == APP
        other = ask(
            server,
            "OPTIONS",
            "/api/stats",
            None,
            {**OF_THE_PROXY, "Host": "127.0.0.1", **PREFLIGHT, "Origin": "https://evil.example"},
        )
        assert "access-control-allow-origin" not in other.headers


# --- the request's id ---------------------------------------------------------------------

GOOD = ["0123456789abcdef0123456789ABCDEF", "01234567-89ab-cdef-0123-456789abcdef"]
FORGED = [
    "1",
    "x" * 5000,
    "0123456789abcdef0123456789abcdeg",
    "0123456789abcdef0123456789abcdef0",
    "{01234567-89ab-cdef-0123-456789abcdef}",
    "urn:uuid:01234567-89ab-cdef-0123-456789abcdef",
    "0123_4567_89ab_cdef_0123_4567_89",
    "0123456789abcdef0123456789abcde\t",
    "0123456789abcdef0123456789abcd\x1f\x1f",
    "0-123456789abcdef0123456789abcde-f",
    '"}{"level": "ERROR"}',
    "<script>alert(1)</script>",
]


@pytest.mark.parametrize("given", GOOD)
def test_an_id_that_a_proxy_gave_is_kept(local: Server, given: str) -> None:
    assert (
        ask(local, "GET", "/health", headers={"X-Request-ID": given}).headers["x-request-id"]
        == given
    )


@pytest.mark.parametrize("given", FORGED, ids=range(len(FORGED)))
def test_an_id_of_another_shape_is_replaced(local: Server, given: str) -> None:
    answer = ask(local, "GET", "/health", headers={"X-Request-ID": given})
    assert answer.status == 200
    made = answer.headers["x-request-id"]
    assert len(made) == 32
    assert made != given.strip()
    int(made, 16)


def test_a_folded_id_brings_no_line_of_its_own(local: Server) -> None:
    """A header may go on in the next line, as it was once allowed; what comes is not a UUID."""
    with socket.create_connection(("127.0.0.1", local.port), timeout=10) as raw:
        raw.sendall(
            b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            b"X-Request-ID: 0123456789abcdef\r\n 0123456789abcdef\r\n\r\n"
        )
        said = b""
        while part := raw.recv(65536):
            said += part
    assert b"0123456789abcdef" not in said
    assert said.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))


def test_two_requests_have_two_ids(local: Server) -> None:
    ids = {ask(local, "GET", "/health").headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5
