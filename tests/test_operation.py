"""What an operator, or a client that means no harm, runs into: a batch sent again, a file that is
not there, a NUL, a wrong method, a proxy with TLS."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from detection.models import Pattern
from tests import events
from tests.server import Server


def test_a_batch_that_is_sent_again_counts_once(server: Server) -> None:
    visitor = events.visitor()
    # One round too few for a loop, unless it is counted twice.
    envelope = {"batch": "b1", "sent_at": 5, "events": events.loop(visitor, visits=3)}
    for _ in range(3):
        assert server.post(envelope) == (
            202,
            {"status": "accepted", "accepted": 3, "rejected": []},
        )
    assert server.get("/api/stats")["total_events"] == 3
    assert server.post(envelope | {"batch": "b2"})[0] == 202
    assert server.get("/api/stats")["total_events"] == 6


def test_identifying_is_told_once_and_as_the_engine_has_it(server: Server) -> None:
    visitor = events.visitor()
    server.post(events.loop(visitor))
    found = server.wait_for(f"/api/patterns?user={visitor}", lambda said: len(said) == 1)[0]
    for name in ("  bob  ", "bob", "   "):
        server.post([events.event(visitor, "identify", metadata={"id": name})])
    server.wait_for("/api/patterns?user=bob", lambda said: len(said) == 1)
    # A visitor who changes names does not rewrite what was detected under the first.
    for name in ("ann", "cy", "ann"):
        server.post([events.event(visitor, "identify", metadata={"id": name})])
    server.post(events.abandonment(visitor))
    told = server.wait_for("/api/patterns?user=ann", lambda said: len(said) == 1)[0]
    assert told["pattern_id"] != found["pattern_id"]
    headers = {"Last-Event-ID": "changes-1:0"}
    assert [change["change"] for change in changes(server, headers, 3)] == [
        "opened",
        "identified",
        "opened",
    ]


def test_a_busy_database_is_said_so(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**which: object) -> None:
        raise OperationalError("database is locked")

    settings.DEBUG = True
    monkeypatch.setattr("detection.access.Site.objects.get", refuse)
    answer = client.get("/api/patterns")
    assert answer.status_code == 503
    assert answer["Retry-After"]
    assert "busy" in answer.json()["error"]["message"]


def test_evidence_keeps_little_of_fat_metadata(server: Server) -> None:
    visitor = events.visitor()
    fat = {f"key{n}": "x" * 512 for n in range(16)}
    server.post([event | {"metadata": fat} for event in events.loop(visitor)])
    found = server.wait_for(f"/api/patterns?user={visitor}", bool)[0]
    kept = [event["metadata"] for event in found["evidence"]["events"]]
    assert {len(value) for metadata in kept for value in metadata.values()} == {100}
    assert len(json.dumps(found)) < 20_000


def changes(server: Server, headers: dict[str, str], count: int) -> list[dict[str, str]]:
    """The first `count` patterns of the stream."""
    request = urllib.request.Request(f"{server.url}/api/stream", headers=headers)
    said = []
    with urllib.request.urlopen(request, timeout=10) as stream:
        for line in stream:
            if line.startswith(b"data: {") and b"pattern_id" in line:
                said.append(json.loads(line[6:]))
                if len(said) == count:
                    break
    return said


def test_a_static_file_that_is_not_there_is_a_404(server: Server) -> None:
    assert server.request("GET", "/static/nope.js")[0] == 404
    assert server.request("GET", "/static/dashboard/feed.js")[0] == 200


@pytest.mark.django_db
@pytest.mark.parametrize("parameter", ["q", "user", "type", "before"])
def test_a_nul_in_a_question_is_a_bad_parameter(client: Client, parameter: str) -> None:
    answer = client.get(f"/api/patterns?{parameter}=a%00b")
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == parameter


@pytest.mark.django_db
def test_a_nul_in_a_patch(client: Client, settings: Any) -> None:
    settings.DEBUG = True  # open to this machine
    assert client.patch("/api/patterns/%00/resolve").status_code == 404
    note = client.patch(
        "/api/patterns/x/resolve", data={"note": "a\0b"}, content_type="application/json"
    )
    assert note.status_code == 400


@pytest.mark.parametrize("path", ["/api/stream", "/api/stats", "/api/patterns"])
def test_a_wrong_method_is_told_so_without_a_token(path: str) -> None:
    answer = Client(enforce_csrf_checks=True).post(path)
    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "method_not_allowed"
    assert "GET" in answer["Allow"]


def test_logging_in_behind_a_proxy_with_tls(tmp_path: Path, migrated: Path) -> None:
    """The deployment of the README: DEBUG off, a proxy that speaks TLS to the visitor."""

    class Deployed(Server):
        def command(self) -> list[str]:
            return [*super().command()[:-1], "--proxy-headers", "behaviourlens.asgi:application"]

    hosts = "lens.example.com,127.0.0.1"
    with Deployed(tmp_path, migrated, DEBUG="off", ALLOWED_HOSTS=hosts) as server:
        forwarded = {
            "Host": "lens.example.com",
            "X-Forwarded-For": "203.0.113.9",
            "X-Forwarded-Proto": "https",
        }
        status, headers, page = server.request("GET", "/admin/login/", headers=forwarded)
        assert status == 200
        assert "Secure" in headers["set-cookie"]
        token = page.split(b'name="csrfmiddlewaretoken" value="')[1].split(b'"')[0].decode()
        login = f"username=nobody&password=wrong&csrfmiddlewaretoken={token}"
        status, _, answer = server.request(
            "POST",
            "/admin/login/",
            login.encode(),
            forwarded
            | {
                "Origin": "https://lens.example.com",
                "Cookie": headers["set-cookie"].split(";")[0],
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
        assert status == 200, "the form is shown again: the name is wrong, the request is not"
        assert b"Please enter the correct" in answer


def test_hosts_are_needed_with_debug_off(tmp_path: Path, migrated: Path) -> None:
    with pytest.raises(RuntimeError, match="ALLOWED_HOSTS is not set"):
        Server(tmp_path, migrated, DEBUG="off").start()


@pytest.mark.django_db
@pytest.mark.parametrize("pattern_id", ["a_5Fb", "a_2Fb", "-_x"])
def test_a_pattern_leads_to_its_page_in_the_admin(admin_client: Client, pattern_id: str) -> None:
    now = "2026-01-01T00:00:00Z"
    pattern = Pattern.objects.create(
        pattern_id=pattern_id,
        site_id=1,
        user_id="v",
        type="hesitation",
        place="/",
        page="/",
        severity=1,
        explanation="Idle.",
        detected_at=now,
        updated_at=now,
        search_text="v",
    )
    assert admin_client.get(pattern.get_absolute_url()).status_code == 200
    assert reverse("admin:index") in pattern.get_absolute_url()
