"""The query API: names, shapes and orders that clients are written for."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import Permission, User
from django.test import Client

from detection import store
from detection.engine.patterns import Severity
from detection.models import Site
from tests.events import abandonment, event, loop, visitor
from tests.making import T0, opened, recovered
from tests.server import Server

PATTERN = [
    "pattern_id",
    "type",
    "page",
    "severity",
    "explanation",
    "user_id",
    "detected_at",
    "resolved",
]
STATS = ["total_events", "active_users", "patterns_detected", "abandonment_rate", "as_of"]
STRANGE_IDS = [
    "a/b",
    "a/b/events",
    "/",
    "../../etc/passwd",
    "a?b=c&d#e",
    "a b+c%20d%2Fe",
    "\N{WAVING HAND SIGN}\u202eabc",
    "\"quoted\" 'twice'",
    "<script>alert(1)</script>",
    "active",
    ".",
    "%",
    "\\",
]


@pytest.fixture(autouse=True)
def _local(settings: Any) -> None:
    """As on one's own machine: open."""
    settings.DEBUG = True


@pytest.fixture
def patterns(db: None) -> None:
    """p1 … p6, p6 the newest; p3 and p4 of one time."""
    Site.objects.get_or_create(pk=1, defaults={"name": "Default site"})
    made = [
        ("p1", Severity.LOW, "hesitation", "ann", T0 + 1),
        ("p2", Severity.MEDIUM, "hesitation", "bob", T0 + 2),
        ("p3", Severity.HIGH, "abandonment", "ann", T0 + 3),
        ("p4", Severity.LOW, "navigation-loop", "ann", T0 + 3),
        ("p5", Severity.HIGH, "abandonment", "Zo\xcb", T0 + 4),
        ("p6", Severity.LOW, "hesitation", "100%_x", T0 + 5),
    ]
    store.apply(
        [
            opened(pk, severity, type=kind, user_id=user, detected_at=at)
            for pk, severity, kind, user, at in made
        ]
    )


def ids(client: Client, query: str = "") -> list[str]:
    response = client.get(f"/api/patterns{query}")
    assert response.status_code == 200, response.content
    return [pattern["pattern_id"] for pattern in response.json()]


def refusal(response: Any, status: int, code: str, field: str | None = None) -> str:
    """The message of an error in the one shape that every error has."""
    assert response.status_code == status
    assert response["Content-Type"].startswith("application/json")
    error = response.json()["error"]
    assert list(error) == ["code", "message", "field"]
    assert (error["code"], error["field"]) == (code, field)
    return str(error["message"])


# --- GET /api/patterns -------------------------------------------------------------------


def test_patterns_are_a_bare_array_with_the_contracts_fields_first(
    client: Client, patterns: None
) -> None:
    response = client.get("/api/patterns?type=abandonment&user=ann")
    (pattern,) = response.json()
    assert list(pattern)[:8] == PATTERN
    assert {name: pattern[name] for name in PATTERN} == {
        "pattern_id": "p3",
        "type": "abandonment",
        "page": "/checkout",
        "severity": "high",
        "explanation": "A high thing.",
        "user_id": "ann",
        "detected_at": T0 + 3,
        "resolved": False,
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "p6 p5 p4 p3 p2 p1"),
        ("?limit=1", "p6"),
        ("?limit=500", "p6 p5 p4 p3 p2 p1"),
        ("?severity=low", "p6 p4 p1"),
        ("?severity=medium", "p2"),
        ("?severity=high", "p5 p3"),
        ("?severity=", "p6 p5 p4 p3 p2 p1"),
        ("?type=hesitation", "p6 p2 p1"),
        ("?type=unheard-of", ""),
        ("?user=ann", "p4 p3 p1"),
        ("?user=ANN", ""),
        ("?user=", "p6 p5 p4 p3 p2 p1"),
        ("?user=nobody", ""),
        ("?q=ANN", "p4 p3 p1"),
        ("?q=zo%C3%AB", "p5"),
        ("?q=%25_", "p6"),
        ("?q=high+thing", "p5 p3"),
        ("?q=++", "p6 p5 p4 p3 p2 p1"),
        ("?q=';drop table x;--", ""),
        ("?severity=low&limit=2", "p6 p4"),
        ("?severity=low&user=ann&type=hesitation", "p1"),
        ("?before=p6&limit=2", "p5 p4"),
        ("?before=p4", "p3 p2 p1"),
        ("?before=p3", "p2 p1"),
        ("?before=p1", ""),
        ("?before=p6&severity=low&limit=1", "p4"),
        ("?unknown=1", "p6 p5 p4 p3 p2 p1"),
    ],
)
def test_filters_apply_before_the_limit(
    client: Client, patterns: None, query: str, expected: str
) -> None:
    assert " ".join(ids(client, query)) == expected


def test_pages_of_any_size_give_every_pattern_once(client: Client, patterns: None) -> None:
    for limit in (1, 2, 4):
        seen: list[str] = []
        while page := ids(client, f"?limit={limit}&before={seen[-1] if seen else ''}"):
            seen += page
        assert seen == ["p6", "p5", "p4", "p3", "p2", "p1"]


def test_the_limit_is_fifty_if_none_is_given(client: Client, patterns: None) -> None:
    store.apply([opened(f"q{n:03}") for n in range(60)])
    assert len(ids(client)) == 50
    assert len(ids(client, "?limit=60")) == 60


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=501", "limit"),
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("limit=1.5", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("severity=urgent", "severity"),
        ("severity=LOW", "severity"),
        ("type=" + "x" * 41, "type"),
        ("user=" + "x" * 129, "user"),
        ("user=a%00", "user"),
        ("q=" + "x" * 201, "q"),
        ("q=a%00b", "q"),
        ("before=nothing", "before"),
        ("before=%00", "before"),
        ("before=" + "x" * 65, "before"),
    ],
)
def test_a_bad_parameter_is_named(client: Client, patterns: None, query: str, field: str) -> None:
    message = refusal(client.get(f"/api/patterns?{query}"), 400, "bad_request", field)
    assert message.startswith(field)


def test_another_sites_patterns_are_not_shown(client: Client, patterns: None) -> None:
    second = Site.objects.create(name="Second")
    store.apply([opened("other", site=second.pk)])
    assert "other" not in ids(client)
    refusal(client.get("/api/patterns?before=other"), 400, "bad_request", "before")
    refusal(client.patch("/api/patterns/other/resolve"), 404, "not_found")


def test_the_identified_id_finds_a_visitor_too(client: Client, patterns: None) -> None:
    store.apply([opened("known", identified="Ann@Shop.example", user_id="v9")])
    assert ids(client, "?user=Ann@Shop.example") == ["known"]
    assert ids(client, "?q=ann@shop") == ["known"]


def test_a_page_of_patterns_takes_few_queries(
    client: Client, patterns: None, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(2):  # the site, its patterns
        ids(client)
    with django_assert_num_queries(3):  # and the one to start from
        ids(client, "?before=p6")


# --- PATCH /api/patterns/…/resolve -------------------------------------------------------


def test_resolving_answers_with_the_pattern(client: Client, patterns: None) -> None:
    response = client.patch("/api/patterns/p1/resolve")
    assert response.status_code == 200
    answer = response.json()
    assert list(answer)[:8] == PATTERN
    assert (answer["pattern_id"], answer["resolved"]) == ("p1", True)
    assert client.patch("/api/patterns/p1/resolve").json() == answer, "again changes nothing"


@pytest.mark.parametrize(
    ("body", "note"), [("{}", ""), ('{"note":"rang"}', "rang"), ('{"note":null}', "")]
)
def test_a_note_may_be_given(client: Client, patterns: None, body: str, note: str) -> None:
    response = client.patch("/api/patterns/p1/resolve", body, content_type="application/json")
    assert response.json()["note"] == note


@pytest.mark.parametrize("body", ["{", '{"note":7}', '{"note":"' + "x" * 2001 + '"}', "[]", '"x"'])
def test_a_bad_note_is_refused(client: Client, patterns: None, body: str) -> None:
    response = client.patch("/api/patterns/p1/resolve", body, content_type="application/json")
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "bad_request"
    assert not client.get("/api/patterns?before=p2").json()[0]["resolved"]


@pytest.mark.parametrize("pattern_id", ["nothing", "%00", "%F0%9F%91%8B", "x" * 300, "a%20b"])
def test_an_unknown_pattern_is_not_found(client: Client, patterns: None, pattern_id: str) -> None:
    refusal(client.patch(f"/api/patterns/{pattern_id}/resolve"), 404, "not_found")


def test_a_recovered_pattern_is_shown_resolved(client: Client, patterns: None) -> None:
    store.apply([recovered("p5")])
    assert client.get("/api/patterns?user=Zo%C3%8B").json()[0]["resolved"] is True


# --- methods, paths, errors ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "/api/patterns"),
        ("delete", "/api/patterns"),
        ("get", "/api/patterns/p1/resolve"),
        ("post", "/api/patterns/p1/resolve"),
        ("post", "/api/stats"),
        ("put", "/api/users/active"),
        ("post", "/api/users/u/events"),
        ("post", "/health"),
        ("post", "/api/stream"),
    ],
)
def test_a_wrong_method(client: Client, patterns: None, method: str, path: str) -> None:
    response = getattr(client, method)(path)
    refusal(response, 405, "method_not_allowed")
    assert response["Allow"]


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/nothing", "/api/patterns/", "/api/stats/"])
def test_an_unknown_path(client: Client, patterns: None, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    if path != "/api":
        refusal(response, 404, "not_found")


@pytest.mark.parametrize("query", ["within=0", "within=301", "within=x", "within="])
def test_a_bad_within(client: Client, patterns: None, query: str) -> None:
    refusal(client.get(f"/api/users/active?{query}"), 400, "bad_request", "within")


@pytest.mark.parametrize("query", ["", "?user_id=", "?user_id=" + "x" * 129])
def test_a_bad_user_id(client: Client, patterns: None, query: str) -> None:
    refusal(client.get(f"/events{query}"), 400, "bad_request", "user_id")


@pytest.mark.parametrize("path", ["/api/stats", "/api/users/active", "/api/users/u/events"])
def test_where_the_engine_does_not_run_the_answer_is_503(
    client: Client, patterns: None, path: str
) -> None:
    response = client.get(path)
    message = refusal(response, 503, "busy")
    assert message == "The engine does not run in this process."
    assert response["Retry-After"] == "1"


def test_a_body_beyond_all_bounds(client: Client, patterns: None) -> None:
    body = json.dumps({"note": "x" * 3_000_000})
    response = client.patch("/api/patterns/p1/resolve", body, content_type="application/json")
    refusal(response, 400, "bad_request")


# --- who may -------------------------------------------------------------------------------


def test_in_public_a_login_that_may_is_needed(
    client: Client, patterns: None, settings: Any
) -> None:
    settings.DEBUG = False
    refusal(client.get("/api/patterns"), 403, "forbidden")
    person = User.objects.create_user("ann", is_staff=False)
    client.force_login(person)
    refusal(client.get("/api/patterns"), 403, "forbidden")
    person.is_staff = True
    person.save()
    assert client.get("/api/patterns").status_code == 200
    refusal(client.patch("/api/patterns/p1/resolve"), 403, "forbidden")
    person.user_permissions.add(Permission.objects.get(codename="change_pattern"))
    assert client.patch("/api/patterns/p1/resolve").json()["resolved_by"] == "ann"
    person.is_active = False
    person.save()
    refusal(client.get("/api/patterns"), 403, "forbidden")


def test_a_foreign_page_cannot_resolve_in_ones_name(client: Client, patterns: None) -> None:
    """PATCH needs a preflight, which tells a page of another origin nothing that would allow it;
    and the session's cookie is not sent from other sites."""
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "PATCH"}
    response = client.options("/api/patterns/p1/resolve", headers=asked)
    assert not [name for name in response.headers if name.lower().startswith("access-control")]
    assert django_settings.SESSION_COOKIE_SAMESITE == "Lax"
    assert not getattr(django_settings, "CORS_ALLOW_CREDENTIALS", False)


# --- the OpenAPI document -------------------------------------------------------------------


def test_the_document_describes_every_path(client: Client, patterns: None) -> None:
    document = client.get("/api/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert set(document["paths"]) == {
        "/api/patterns",
        "/api/patterns/{pattern_id}/resolve",
        "/api/stats",
        "/api/users/active",
        "/api/users/{user_id}/events",
        "/events",
        "/health",
        "/ready",
        "/metrics",
    }


def test_its_page_loads_nothing_from_elsewhere(client: Client, patterns: None) -> None:
    page = client.get("/api/docs")
    assert page.status_code == 200
    text = page.content.decode()
    assert "http://" not in text.replace("http://testserver", "")
    assert "https://" not in text


# --- over a real server -----------------------------------------------------------------------


def test_stats(shared_server: Server) -> None:
    before = shared_server.get("/api/stats")
    assert list(before) == STATS
    who = visitor()
    shared_server.post(abandonment(who))
    shared_server.wait_for(f"/api/patterns?user={who}", bool)
    after = shared_server.get("/api/stats")
    assert after["total_events"] == before["total_events"] + 3
    assert after["active_users"] == before["active_users"] + 1
    assert after["patterns_detected"] == before["patterns_detected"] + 1
    assert 0 < after["abandonment_rate"] <= 1
    assert abs(after["as_of"] - shared_server.get("/health")["timestamp"]) < 5_000


def test_active_users_the_newest_first(shared_server: Server) -> None:
    first, second = visitor(), visitor()
    shared_server.post(event(first, "navigate", "/a"))
    shared_server.post(event(second, "navigate", "/b"))
    active = shared_server.get("/api/users/active?within=60")
    assert [list(user)[:3] for user in active[:1]] == [["user_id", "current_page", "last_seen"]]
    assert [user["user_id"] for user in active[:2]] == [second, first]
    assert active[0]["current_page"] == "/b"


def test_a_visitors_events_are_oldest_first_in_the_wires_shape(shared_server: Server) -> None:
    who = visitor()
    now = shared_server.get("/health")["timestamp"]
    sent = [event(who, "click", f"/p{n}", timestamp=now - 1000 + n, view="v1") for n in range(3)]
    shared_server.post(list(reversed(sent)))
    asked = shared_server.get(f"/api/users/{who}/events")
    assert [e["page"] for e in asked] == ["/p0", "/p1", "/p2"]
    fields = ["user_id", "action", "page", "timestamp", "metadata"]
    assert all(list(e)[:5] == fields for e in asked)
    assert asked[0] == sent[0] | {"metadata": {}}
    assert shared_server.get(f"/events?user_id={who}") == asked
    for answered in asked:
        assert shared_server.post(answered)[0] == 202, "what is answered can be sent"


@pytest.mark.parametrize("who", STRANGE_IDS)
def test_ids_may_hold_anything(shared_server: Server, who: str) -> None:
    shared_server.post(loop(who))
    in_path = shared_server.get(f"/api/users/{quote(who, safe='')}/events")
    in_query = shared_server.get(f"/events?user_id={quote(who, safe='')}")
    assert {e["user_id"] for e in in_path} == {who}
    assert in_query == in_path
    found = shared_server.wait_for(f"/api/patterns?user={quote(who, safe='')}", bool)
    assert found[0]["user_id"] == who


@pytest.mark.parametrize("path", ["/api/users/nobody/events", "/events?user_id=nobody"])
def test_an_unknown_visitor(shared_server: Server, path: str) -> None:
    status, _, body = shared_server.request("GET", path)
    assert status == 404
    assert json.loads(body)["error"]["code"] == "not_found"


def test_the_docs_work_under_the_security_policy(shared_server: Server) -> None:
    """Whatever the page loads is there, and of this host."""
    status, headers, page = shared_server.request("GET", "/api/docs")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    for part in page.decode().split('"'):
        if part.startswith("/") and not part.startswith("//"):
            assert shared_server.request("GET", part)[0] == 200, part


# --- other origins ------------------------------------------------------------------------------

ORIGIN = {"Origin": "https://app.example"}
PREFLIGHT = ORIGIN | {
    "Access-Control-Request-Method": "PATCH",
    "Access-Control-Request-Headers": "content-type",
}


@pytest.fixture(scope="module")
def open_to_one(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("one")
    origins = "https://app.example, https://b.example"
    with Server(folder, migrated, BL_API_ORIGINS=origins) as running:
        yield running


@pytest.fixture(scope="module")
def open_to_all(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("all"), migrated, BL_API_ORIGINS="*") as running:
        yield running


@pytest.mark.parametrize("path", ["/api/stats", "/events?user_id=x", "/health", "/api/patterns"])
def test_listed_origins_may_read(open_to_one: Server, path: str) -> None:
    headers = open_to_one.request("GET", path, headers=ORIGIN)[1]
    assert headers["access-control-allow-origin"] == "https://app.example"
    other = open_to_one.request("GET", path, headers={"Origin": "https://evil.example"})[1]
    assert "access-control-allow-origin" not in other


def test_any_origin_may_read_where_all_may(open_to_all: Server) -> None:
    headers = open_to_all.request("GET", "/api/stats", headers=ORIGIN)[1]
    assert headers["access-control-allow-origin"] == "*"


def test_errors_may_be_read_as_well(open_to_all: Server) -> None:
    status, headers, _ = open_to_all.request("GET", "/api/patterns?limit=0", headers=ORIGIN)
    assert status == 400
    assert headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("name", ["open_to_one", "open_to_all"])
def test_a_preflight_for_resolving(request: pytest.FixtureRequest, name: str) -> None:
    server: Server = request.getfixturevalue(name)
    path = "/api/patterns/x/resolve"
    status, headers, _ = server.request("OPTIONS", path, headers=PREFLIGHT)
    assert status == 200
    assert "PATCH" in headers["access-control-allow-methods"]
    assert headers["access-control-allow-origin"] in {"*", "https://app.example"}


def test_no_other_origin_may_read_unless_said(shared_server: Server) -> None:
    for path in ("/api/stats", "/health", "/api/patterns"):
        headers = shared_server.request("GET", path, headers=ORIGIN)[1]
        assert "access-control-allow-origin" not in headers
