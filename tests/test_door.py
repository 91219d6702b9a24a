"""Bodies at the door of a real server: bounded each and all together, whatever becomes of them."""

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from detection.door import MOST_OF_ALL, MOST_OF_ONE
from tests.events import event, visitor
from tests.server import Server

MIB = 1024 * 1024


def memory(server: Server) -> int:
    """The most that the process has ever held, MiB."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def pieces(size: int) -> Iterator[bytes]:
    for _ in range(size // MIB):
        yield b" " * MIB
    yield b" " * (size % MIB)


@contextlib.contextmanager
def connected(server: Server) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        yield connection
    finally:
        connection.close()


def answer_of(connection: http.client.HTTPConnection) -> tuple[int, Any, dict[str, str]]:
    response = connection.getresponse()
    said = json.loads(response.read())
    return response.status, said, {k.lower(): v for k, v in response.getheaders()}


@pytest.mark.parametrize("chunked", [False, True], ids=["by its length", "in chunks"])
@pytest.mark.parametrize("path", ["/events", "/api/patterns/x/resolve"])
def test_a_body_that_is_far_too_large_is_read_and_not_kept(
    shared_server: Server, path: str, chunked: bool
) -> None:
    before = memory(shared_server)
    with connected(shared_server) as connection:
        connection.connect()
        first = connection.sock
        headers = {} if chunked else {"Content-Length": str(256 * MIB)}
        method = "POST" if path == "/events" else "PATCH"
        connection.request(method, path, pieces(256 * MIB), headers, encode_chunked=chunked)
        status, said, answered = answer_of(connection)
        assert (status, said["error"]["code"]) == (413, "too_large")
        assert answered["access-control-allow-origin"] == "*"
        assert answered["content-type"] == "application/json"
        connection.request("POST", "/events", json.dumps(event(visitor())))
        assert answer_of(connection)[0] == 202
        assert connection.sock is first
    assert memory(shared_server) - before < 64, "MiB"


@pytest.mark.parametrize("more", [0, 1])
def test_either_side_of_the_bound_the_answer_is_the_same(shared_server: Server, more: int) -> None:
    """Up to it the application refuses, beyond it the door."""
    body = b" " * (MOST_OF_ONE + more)
    status, headers, said = shared_server.request("POST", "/events", body)
    assert (status, json.loads(said)["error"]["code"]) == (413, "too_large")
    assert headers["x-content-type-options"] == "nosniff"


def begun(server: Server, size: int) -> socket.socket:
    """A request that has sent `size` bytes of its body and keeps the last to itself."""
    made = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    head = "POST /events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: "
    made.sendall(f"{head}{size + 1}\r\n\r\n".encode() + b" " * size)
    return made


def until(server: Server, status: int) -> dict[str, str]:
    """Send 3 MiB, which the application answers 413, until the answer is `status`; its headers."""
    deadline = time.monotonic() + 30
    while True:
        said, headers, _ = server.request("POST", "/events", b" " * 3 * MIB)
        if said == status:
            return headers
        assert said in {413, 503}
        assert time.monotonic() < deadline, f"it went on answering {said}"
        time.sleep(0.02)


def test_bodies_that_are_half_read_are_bounded_together(tmp_path: Path, migrated: Path) -> None:
    """Eighty clients have each sent nearly a mebibyte, and the last byte not."""
    with Server(tmp_path, migrated) as server:
        waiting = [begun(server, MIB - 1_000) for _ in range(MOST_OF_ALL // MIB + 16)]
        try:
            assert until(server, 503)["retry-after"] == "1"
            assert server.post(event("u"))[0] == 202, "for a small one there is room"
            # What was begun ends as it should: there was room for 64 of them.
            answers = []
            for made in waiting:
                made.sendall(b" ")
                answers.append(int(made.recv(12).split()[1]))
            assert set(answers) == {400, 503}
            assert 60 <= answers.count(400) <= 64
        finally:
            for made in waiting:
                made.close()
        until(server, 413)


def test_those_who_leave_make_room(tmp_path: Path, migrated: Path) -> None:
    with Server(tmp_path, migrated) as server:
        for _ in range(3):
            waiting = [begun(server, MIB - 1_000) for _ in range(MOST_OF_ALL // MIB + 16)]
            until(server, 503)
            for made in waiting:
                made.close()
            until(server, 413)


def test_the_same_bodies_one_after_another_are_all_read(shared_server: Server) -> None:
    """What has been answered is not held against those who come after."""
    body = json.dumps(event(visitor())).encode()
    body += b" " * (MIB - len(body))
    for _ in range(MOST_OF_ALL // MIB + 16):
        assert shared_server.request("POST", "/events", body)[0] == 202


def test_a_form_reaches_the_application_as_it_was_sent(shared_server: Server) -> None:
    """Twisted reads forms where it is let; what is no form must not be refused for that."""
    body = json.dumps(event(visitor())).encode()
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        headers = {"Content-Type": kind}
        assert shared_server.request("POST", "/events", body, headers)[0] == 202
