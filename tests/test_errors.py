"""Errors that Django answers by itself have the API's shape where they are the API's."""

import json
from typing import Any

import pytest
from django.test import Client

from detection import rest
from detection.models import Site
from tests.server import Server


@pytest.fixture(autouse=True)
def _site(db: None) -> None:
    Site.objects.get_or_create(pk=1, defaults={"name": "Default site"})


def test_an_error_that_nobody_expected_is_json_without_details(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> int:
        raise RuntimeError("a secret of the machine")

    settings.DEBUG = False
    monkeypatch.setattr(rest.clock, "now_ms", fail)
    response = Client(raise_request_exception=False).get("/health")
    assert response.status_code == 500
    assert response["Content-Type"] == "application/json"
    assert response.json()["error"]["code"] == "error"
    assert b"secret" not in response.content


@pytest.mark.parametrize("debug", [True, False], ids=["local", "public"])
@pytest.mark.parametrize("path", ["/api/nothing", "/events/nothing", "/health/nothing"])
def test_what_is_not_there(client: Client, settings: Any, path: str, debug: bool) -> None:
    settings.DEBUG = debug
    response = client.get(path)
    assert response.status_code == 404
    assert response["Content-Type"] == "application/json"
    assert response.json() == {
        "error": {"code": "not_found", "message": "There is nothing here.", "field": None}
    }


def test_pages_keep_their_own_errors(client: Client, settings: Any) -> None:
    settings.DEBUG = False
    response = client.get("/nothing")
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    "path",
    [
        "/api/%00",
        "/api/users/%FF/events",
        "/api/users/%ED%A0%80/events",
        "/events?user_id=%FF",
        "/events?user_id=%ED%A0%80",
        "/api/patterns?q=%FF%FE",
        "/api/patterns?" + "&".join(f"a{n}=1" for n in range(2000)),
        "/api/" + "x" * 8000,
        "/api/stats?&&==&;",
        "/api/../api/stats",
        "//api/stats",
        "/api/patterns?q=" + "%F0%9F%91%8B" * 200,
    ],
)
def test_odd_addresses_are_never_the_servers_fault(shared_server: Server, path: str) -> None:
    status, _, body = shared_server.request("GET", path)
    assert status < 500
    if status >= 400 and path.startswith(("/api", "/events")):
        assert json.loads(body)["error"]["message"]
