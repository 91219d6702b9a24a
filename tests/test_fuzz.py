"""Thousands of damaged requests at a real server: it answers, clearly, and goes on."""

import gzip
import http.client
import json
import random
from collections.abc import Iterator

import pytest

from tests.events import abandonment, event, loop, visitor
from tests.server import Server

SEED = 20260101
REQUESTS = 3000

SCRIPT = "<script>alert(1)</script>"
HOSTILE = [
    SCRIPT,
    "\x00\x01\x1f\x7f\x9f",
    "\u202e\u200b\u2028\ufeff",
    "\N{WAVING HAND SIGN}" * 40,
    "a/b/../../c",
    "'; drop table detection_pattern; --",
    "{{ 7 * 7 }}{% debug %}",
    "%s %d {0} {x!r}",
    "\r\nSet-Cookie: a=b\r\n\r\n",
]


def corpus() -> list[bytes]:
    good = [
        event("fuzz"),
        loop("fuzz", visits=7),
        {"site": "", "batch": "b", "sent_at": 5, "events": abandonment("fuzz")},
        {"events": [event("fuzz", "identify", metadata={"id": "known"})]},
    ]
    for text in HOSTILE:
        good.append(event(text.replace("\x00", "") or "x", page=text, metadata={text[:60]: text}))
        good.append(loop(text, one=f"/{text}", other=f"/{text}2"))
        good.append({"events": [*abandonment(text), event(text, "fly")]})
    return [json.dumps(payload).encode() for payload in good]


PIECES = [b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"-1", b"1e999", b"\\ud800", b"\xff"]
PIECES += [b"\x00", b"9" * 400, b"[" * 3000, b'{"a":' * 3000, b'"events"', b"true", b"\\u0000"]


def damaged(chance: random.Random, body: bytes, others: list[bytes]) -> bytes:
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(body) + 1)
        to = min(len(body), at + chance.randint(0, 20))
        match chance.randrange(7):
            case 0:
                body = body[:at]
            case 1:
                body = body[:at] + chance.choice(PIECES) + body[to:]
            case 2:
                body = body[:at] + body[to:]
            case 3:
                body = body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :]
            case 4:
                body = body[:to] + body[at:]
            case 5:
                body = body[:at] + chance.choice(others)[at:]
            case 6:
                body = gzip.compress(body)[: chance.choice([10, 10_000])]
    return body


@pytest.fixture(scope="module")
def connection(shared_server: Server) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection("127.0.0.1", shared_server.port, timeout=20)
    yield made
    made.close()


def send(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, dict[str, object]]:
    connection.request("POST", "/events", body)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def still_detects(server: Server) -> None:
    who = visitor()
    assert server.post(loop(who))[0] == 202
    (found,) = server.wait_for(f"/api/patterns?user={who}", bool)
    assert found["type"] == "navigation-loop"
    log = server.log.read_text()
    assert "Traceback" not in log, log[-3000:]


def test_damaged_bodies_are_taken_or_refused(
    shared_server: Server, connection: http.client.HTTPConnection
) -> None:
    chance = random.Random(SEED)
    good = corpus()
    answers: dict[int, int] = {}
    for _ in range(REQUESTS):
        body = damaged(chance, chance.choice(good), good)
        status, answer = send(connection, body)
        assert status in {202, 400, 401, 413}, (status, body, answer)
        answers[status] = answers.get(status, 0) + 1
        if status != 202:
            assert set(answer) == {"error"}
    assert answers[202] > 50, "the corpus is not so damaged that nothing gets through"
    assert answers[400] > 50
    still_detects(shared_server)


def test_hostile_texts_come_back_as_they_are_and_harm_no_page(
    shared_server: Server, connection: http.client.HTTPConnection
) -> None:
    for body in corpus():
        assert send(connection, body)[0] in {202, 400}
    found = shared_server.wait_for(
        "/api/patterns?q=script&limit=500",
        lambda patterns: {p["user_id"] for p in patterns} >= {SCRIPT},
    )
    assert any(SCRIPT.rstrip("/>") in pattern["page"] for pattern in found)
    for path in ("/", "/feed"):
        status, _, page = shared_server.request("GET", path)
        assert status == 200
        assert b"<script>alert" not in page
    still_detects(shared_server)


def test_damaged_addresses_are_answered(shared_server: Server) -> None:
    chance = random.Random(SEED)
    paths = [
        b"/api/patterns?limit=5&severity=low&q=a",
        b"/api/users/a%2Fb/events",
        b"/events?user_id=fuzz",
        b"/api/users/active?within=60",
        b"/api/stream?lastEventId=x",
        b"/health",
    ]
    letters = b"%/?&=#.;'\"<>\\0azAZ~+-" + bytes(range(128, 132))
    made = http.client.HTTPConnection("127.0.0.1", shared_server.port, timeout=20)
    for _ in range(400):
        path = bytearray(chance.choice(paths))
        for _ in range(chance.randint(1, 3)):
            path[chance.randrange(1, len(path))] = chance.choice(letters)
        made.putrequest("GET", "/", skip_host=True)
        made._buffer[0] = b"GET " + bytes(path) + b" HTTP/1.1"
        made.putheader("Host", "127.0.0.1")
        made.endheaders()
        response = made.getresponse()
        assert response.status < 500, bytes(path)
        if response.headers["Content-Type"].startswith("text/event-stream"):
            made.close()
        else:
            response.read()
    made.close()
    still_detects(shared_server)
