"""POST /events over real sockets: what is answered, and what the engine then knows."""

import contextlib
import gzip
import http.client
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.events import abandonment, event, loop, visitor
from tests.server import Server

MIB = 1024 * 1024
ANY_ORIGIN = {"Origin": "https://shop.example"}


@contextlib.contextmanager
def connected(server: Server) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        yield connection
    finally:
        connection.close()


def send(
    connection: http.client.HTTPConnection, body: bytes, **headers: str
) -> tuple[int, Any, dict[str, str]]:
    connection.request("POST", "/events", body, headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    return response.status, answer, {k.lower(): v for k, v in response.getheaders()}


def post(
    server: Server, body: bytes, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], Any]:
    status, answered, raw = server.request("POST", "/events", body, headers)
    return status, answered, json.loads(raw)


def actions(server: Server, user_id: str) -> list[str]:
    return [event["action"] for event in server.get(f"/events?user_id={user_id}")]


def key_of_default_site(server: Server) -> str:
    with contextlib.closing(sqlite3.connect(server.database)) as database:
        return str(database.execute("select key from detection_site where id=1").fetchone()[0])


def add_site(server: Server, name: str, key: str, origins: str = "") -> None:
    with contextlib.closing(sqlite3.connect(server.database, timeout=20)) as database, database:
        database.execute(
            "insert into detection_site"
            " (name, key, previous_key, allowed_origins, funnel_steps, funnel_completed_on,"
            " last_change, patterns_detected, created_at)"
            " values (?, ?, '', ?, '', '', 0, 0, '2026-01-01')",
            (name, key, origins),
        )


# --- what is taken ---------------------------------------------------------------------


def test_one_event(shared_server: Server) -> None:
    who = visitor()
    assert shared_server.post(event(who, metadata={"x": 1})) == (202, {"status": "accepted"})
    (kept,) = shared_server.get(f"/events?user_id={who}")
    assert kept["action"] == "click"
    assert kept["metadata"] == {"x": "1"}


def test_an_array(shared_server: Server) -> None:
    who = visitor()
    assert shared_server.post([event(who), event(who, "scroll")]) == (
        202,
        {"status": "accepted", "accepted": 2, "rejected": []},
    )
    assert actions(shared_server, who) == ["click", "scroll"]


def test_an_envelope_with_the_sites_key(shared_server: Server) -> None:
    who = visitor()
    key = key_of_default_site(shared_server)
    envelope = {"site": key, "batch": "b1", "sent_at": 60_000, "events": [event(who, timestamp=1)]}
    assert shared_server.post(envelope) == (
        202,
        {"status": "accepted", "accepted": 1, "rejected": []},
    )
    (kept,) = shared_server.get(f"/events?user_id={who}")
    now = shared_server.get("/health")["timestamp"]
    assert 59_000 < now - kept["timestamp"] < 70_000, "a minute before its arrival"


def test_the_answer_comes_after_the_engine_has_seen_the_events(shared_server: Server) -> None:
    for _ in range(20):
        who = visitor()
        shared_server.post([event(who)] * 50)
        assert len(actions(shared_server, who)) == 50


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "x", ""],
)
def test_any_content_type(shared_server: Server, content_type: str) -> None:
    body = json.dumps(event(visitor())).encode()
    assert post(shared_server, body, {"Content-Type": content_type})[0] == 202


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}], ids=["unsaid", "said"])
def test_gzip_is_recognised_by_its_first_bytes(
    shared_server: Server, headers: dict[str, str]
) -> None:
    who = visitor()
    body = gzip.compress(json.dumps([event(who)] * 100).encode())
    assert post(shared_server, body, headers)[2]["accepted"] == 100


def test_plain_json_that_says_it_is_gzip_is_taken(shared_server: Server) -> None:
    body = json.dumps(event(visitor())).encode()
    assert post(shared_server, body, {"Content-Encoding": "gzip"})[0] == 202


def test_bad_events_are_refused_one_by_one(shared_server: Server) -> None:
    who = visitor()
    events = [event(who, "fly"), event(who), event(who, page=""), 7]
    status, answer = shared_server.post(events)
    assert status == 202
    assert answer["accepted"] == 1
    assert answer["rejected"] == [
        {"index": 0, "field": "action", "message": answer["rejected"][0]["message"]},
        {"index": 2, "field": "page", "message": "page must not be empty"},
        {"index": 3, "field": None, "message": "an event must be an object"},
    ]
    assert answer["rejected"][0]["message"].startswith("action must be one of abandon, click")
    assert actions(shared_server, who) == ["click"]


def test_where_none_is_valid_nothing_is_taken(shared_server: Server) -> None:
    status, answer = shared_server.post([event(visitor(), "fly")] * 2)
    assert status == 400
    assert answer["error"]["code"] == "invalid"
    assert answer["error"]["field"] == "action"


def test_a_bot_is_told_yes_and_not_counted(shared_server: Server) -> None:
    who = visitor()
    before = shared_server.get("/api/stats")["total_events"]
    assert shared_server.post({"bot": True, "events": [event(who)]}) == (
        202,
        {"status": "accepted", "accepted": 0, "rejected": []},
    )
    assert shared_server.get("/api/stats")["total_events"] == before
    assert shared_server.request("GET", f"/events?user_id={who}")[0] == 404


def test_a_batch_that_is_sent_again_is_counted_once(shared_server: Server) -> None:
    who = visitor()
    envelope = {"batch": f"batch of {who}", "events": [event(who), event(who)]}
    expected = (202, {"status": "accepted", "accepted": 2, "rejected": []})
    assert shared_server.post(envelope) == shared_server.post(envelope) == expected
    assert len(actions(shared_server, who)) == 2


# --- whose events ----------------------------------------------------------------------


def test_an_unknown_key(shared_server: Server) -> None:
    status, answer = shared_server.post({"site": "nobody", "events": [event(visitor())]})
    assert status == 401
    assert answer["error"]["code"] == "unknown_key"
    assert answer["error"]["field"] == "site"


def test_sites_are_told_apart_by_their_key(shared_server: Server) -> None:
    add_site(shared_server, "Second", "second-key")
    who = visitor()
    envelope = {"site": "second-key", "events": loop(who)}

    def accepted() -> bool:
        return shared_server.post(envelope)[0] == 202

    wait_until(accepted)
    # The same visitor of the default site is someone else.
    assert shared_server.request("GET", f"/events?user_id={who}")[0] == 404
    shared_server.post(event(who))
    assert actions(shared_server, who) == ["click"]
    assert shared_server.get(f"/api/patterns?user={who}") == []


def test_only_the_sites_origins_may_send(shared_server: Server) -> None:
    origins = "https://shop.example/\nhttps://www.shop.example:8443"
    add_site(shared_server, "Guarded", "guarded-key", origins)
    body = json.dumps({"site": "guarded-key", "events": [event(visitor())]}).encode()
    wait_until(lambda: post(shared_server, body)[0] == 202)  # no Origin: not a browser
    for origin, expected in (
        ("https://shop.example", 202),
        ("https://www.shop.example:8443", 202),
        ("https://www.shop.example", 403),
        ("http://shop.example", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("\xe9", 403),
    ):
        status, headers, answer = post(shared_server, body, {"Origin": origin})
        assert status == expected, origin
        if expected == 403:
            assert answer["error"]["code"] == "origin"
            assert headers["access-control-allow-origin"] == "*", "or the page cannot read why"


# --- methods and cross-origin requests ---------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_other_methods_are_refused(shared_server: Server, method: str) -> None:
    status, headers, body = shared_server.request(method, "/events", b"{}")
    assert status == 405
    assert headers["allow"] == "GET, POST, OPTIONS"
    assert json.loads(body)["error"]["code"] == "method_not_allowed"


def test_head_is_refused_without_a_body(shared_server: Server) -> None:
    status, headers, body = shared_server.request("HEAD", "/events")
    assert (status, body) == (405, b"")
    assert headers["allow"] == "GET, POST, OPTIONS"


def test_a_preflight_allows_what_the_tracker_sends(shared_server: Server) -> None:
    asked = ANY_ORIGIN | {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    status, headers, body = shared_server.request("OPTIONS", "/events", headers=asked)
    assert (status, body) == (204, b"")
    assert headers["access-control-allow-origin"] == "*"
    assert "POST" in headers["access-control-allow-methods"]
    assert "content-type" in headers["access-control-allow-headers"]
    assert int(headers["access-control-max-age"]) > 0


@pytest.mark.parametrize(
    "body", [json.dumps(event("cors")).encode(), b"", b"\x1f\x8b"], ids=["good", "empty", "gzip"]
)
def test_every_answer_may_be_read_by_any_page(shared_server: Server, body: bytes) -> None:
    _, headers, _ = post(shared_server, body, ANY_ORIGIN)
    assert headers["access-control-allow-origin"] == "*"
    assert headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"


# --- size --------------------------------------------------------------------------------


def padded(size: int) -> bytes:
    body = json.dumps(event(visitor())).encode()
    return body + b" " * (size - len(body))


@pytest.mark.parametrize("chunked", [False, True], ids=["by its length", "in chunks"])
def test_a_mebibyte_is_taken_and_one_more_byte_is_not(shared_server: Server, chunked: bool) -> None:
    with connected(shared_server) as connection:
        for size, expected in ((MIB, 202), (MIB + 1, 413)):
            body: Any = padded(size)
            if chunked:
                body = iter([body[:100_000], body[100_000:]])
            connection.request("POST", "/events", body, encode_chunked=chunked)
            response = connection.getresponse()
            answer = json.loads(response.read())
            assert response.status == expected
        assert answer["error"]["code"] == "too_large"


@pytest.mark.parametrize("size", [8191, 8192, 8193, 16384, 65536])
def test_bodies_as_long_as_the_servers_buffers_are_read_whole(
    shared_server: Server, size: int
) -> None:
    assert post(shared_server, padded(size))[0] == 202


def test_a_gzip_bomb_is_refused(shared_server: Server) -> None:
    status, _, answer = post(shared_server, gzip.compress(b" " * 100 * MIB))
    assert status == 413
    assert answer["error"]["code"] == "too_large"


@pytest.mark.parametrize(("count", "expected"), [(1000, 202), (1001, 413)])
def test_a_thousand_events_and_one_more(shared_server: Server, count: int, expected: int) -> None:
    assert shared_server.post([event("many")] * count)[0] == expected


def test_a_connection_is_used_again_after_errors(shared_server: Server) -> None:
    good = json.dumps(event(visitor())).encode()
    with connected(shared_server) as connection:
        connection.connect()
        first = connection.sock
        for body, expected in (
            (good, 202),
            (b"{", 400),
            (b"", 400),
            (b"[]", 400),
            (padded(MIB + 1), 413),
            (b'{"site":"?","events":[' + good + b"]}", 401),
            (good, 202),
        ):
            assert send(connection, body)[0] == expected
            assert connection.sock is first


def test_a_client_that_leaves_in_the_middle_disturbs_nobody(shared_server: Server) -> None:
    for _ in range(5):
        with connected(shared_server) as connection:
            connection.putrequest("POST", "/events")
            connection.putheader("Content-Length", "1000")
            connection.endheaders(b'{"user_id":')
    assert shared_server.post(event(visitor()))[0] == 202


# --- a full queue --------------------------------------------------------------------------


def test_a_full_queue_refuses_and_nothing_is_lost_or_doubled(
    tmp_path: Path, migrated: Path
) -> None:
    """Many clients, a queue of ten events: some are told 503, and all get through in the end."""
    refusals: list[dict[str, str]] = []
    accepted: list[int] = []

    deadline = time.monotonic() + 40

    def deliver(server: Server, who: str) -> None:
        body = json.dumps([event(who)] * 1000).encode()
        with connected(server) as connection:
            for _ in range(3):
                status, answer, headers = send(connection, body)
                while status == 503 and time.monotonic() < deadline:
                    assert answer["error"]["code"] == "busy"
                    refusals.append(headers)
                    status, answer, headers = send(connection, body)
                accepted.append(answer["accepted"])

    with Server(tmp_path, migrated, BL_QUEUE_EVENTS="10") as server:
        clients = [threading.Thread(target=deliver, args=(server, f"c{n}")) for n in range(12)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(60)
        assert sum(accepted) == 36_000
        assert server.get("/api/stats")["total_events"] == 36_000
    assert refusals, "a queue of ten events was never full"
    assert {headers["retry-after"] for headers in refusals} == {"1"}


def test_a_request_larger_than_the_whole_queue_is_taken(tmp_path: Path, migrated: Path) -> None:
    """Else it would be told to come again for ever."""
    with Server(tmp_path, migrated, BL_QUEUE_EVENTS="10") as server:
        assert server.post([event("u")] * 11)[0] == 202


# --- where the server is open to the world -------------------------------------------------

OPEN = {"DEBUG": "0", "ALLOWED_HOSTS": "127.0.0.1", "SECRET_KEY": "k" * 60, "BL_INSECURE_HTTP": "1"}


@pytest.fixture(scope="module")
def public_server(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("public"), migrated, **OPEN) as running:
        yield running


def test_in_public_a_key_is_needed(public_server: Server) -> None:
    status, answer = public_server.post(event("u"))
    assert status == 401
    assert answer["error"]["message"] == "The write key of a site is needed."
    key = key_of_default_site(public_server)
    assert public_server.post(event("u") | {"site": key})[0] == 202
    array = json.dumps([event("u")]).encode()
    assert public_server.request("POST", f"/events?site={key}", array)[0] == 202
    assert public_server.request("POST", "/events?site=nobody", array)[0] == 401
    assert public_server.post({"site": key, "events": abandonment("u")})[0] == 202


@pytest.mark.parametrize(
    "path",
    [
        "/api/patterns",
        "/api/stats",
        "/api/users/active",
        "/api/users/u/events",
        "/events?user_id=u",
        "/api/stream",
    ],
)
def test_in_public_strangers_read_nothing(public_server: Server, path: str) -> None:
    status, headers, body = public_server.request("GET", path)
    assert status == 403
    assert headers["content-type"].startswith("application/json")
    assert json.loads(body)["error"]["code"] == "forbidden"


def test_in_public_strangers_resolve_nothing(public_server: Server) -> None:
    status, _, body = public_server.request("PATCH", "/api/patterns/x/resolve", b"{}")
    assert status == 403
    assert json.loads(body)["error"]["code"] == "forbidden"


def test_in_public_strangers_see_no_dashboard(public_server: Server) -> None:
    for path in ("/", "/feed", "/stream", "/visitor?user_id=u"):
        _, headers, body = public_server.request("GET", path)
        assert b"abandonment" not in body, path
        assert not headers.get("content-type", "").startswith("text/event-stream")


@pytest.mark.parametrize("path", ["/health", "/lens.js"])
def test_in_public_some_paths_stay_open(public_server: Server, path: str) -> None:
    assert public_server.request("GET", path)[0] == 200


def test_other_hosts_are_refused_as_json(public_server: Server) -> None:
    status, headers, body = public_server.request(
        "GET", "/api/stats", headers={"Host": "evil.example"}
    )
    assert status == 400
    assert headers["content-type"].startswith("application/json")
    assert json.loads(body)["error"]["code"] == "bad_request"


def wait_until(found: Callable[[], bool], timeout: float = 10.0) -> None:
    """Try until it is so: the server learns of new sites within a second or two."""
    deadline = time.monotonic() + timeout
    while not found():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.05)
