"""GET /: the whole dashboard."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from detection.engine.patterns import ChangeKind, Severity
from detection.models import Site
from tests.dashboard.factories import change, found, store_pattern, store_patterns
from tests.dashboard.markup import Markup


@pytest.mark.usefixtures("figures")
def test_it_shows_figures_alert_feed_and_sessions(board: Client) -> None:
    store_patterns(3)
    response = board.get("/")
    page = Markup(response.content.decode())
    assert response.status_code == 200
    assert page.rows == ["p002", "p001", "p000"]
    for words in ("12,345", "33.3%", "anna@example.org", "visitor-one", "idle on /checkout"):
        assert words in page.text
    assert page.all("div", class_="alert")[0]["data-pattern-id"] == "p002"
    assert not page.all(id="engine-notice")


def test_without_an_engine_it_shows_what_is_stored_and_says_so(board: Client) -> None:
    store_patterns(2)
    page = Markup(board.get("/").content.decode())
    assert page.rows == ["p001", "p000"]
    assert page.all(id="engine-notice")
    assert "The live engine does not answer" in page.text
    assert page.text.count("—") == 3


def test_the_first_visit_says_how_to_begin(board: Client) -> None:
    page = Markup(board.get("/").content.decode())
    assert "No friction yet." in page.text
    assert 'src="http://testserver/lens.js"' in page.text
    assert f'data-site="{Site.objects.get(pk=1).key}"' in page.text


def test_the_latest_alert_stays_whatever_the_filters(board: Client) -> None:
    store_pattern("high", severity=Severity.HIGH)
    store_pattern("low", detected_at=1000)
    page = Markup(board.get("/?severity=high&q=nothing-like-it").content.decode())
    assert page.rows == []
    assert page.all("div", class_="alert")[0]["data-pattern-id"] == "low"


def test_a_pattern_that_gets_worse_is_the_latest_alert(board: Client) -> None:
    store_pattern("older")
    store_pattern("newer", detected_at=1000)
    worse = found("older", severity=Severity.HIGH)
    change(ChangeKind.ESCALATED, worse, after=5000)
    page = Markup(board.get("/").content.decode())
    assert page.all("div", class_="alert")[0]["data-pattern-id"] == "older"
    assert page.rows == ["newer", "older"]


def test_the_stream_goes_on_where_the_page_ends(board: Client) -> None:
    store_patterns(4)
    page = Markup(board.get("/").content.decode())
    assert page.all("main")[0]["sse-connect"] == "/stream?lastEventId=rows-1:4"


def test_it_asks_the_database_little(
    board: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    store_patterns(40)
    with django_assert_max_num_queries(8):
        board.get("/?visitor=visitor-of-p001&type=hesitation&q=idle")


@pytest.mark.usefixtures("figures")
def test_nothing_in_it_needs_an_unsafe_policy(board: Client) -> None:
    store_patterns(3)
    response = board.get("/?visitor=someone")
    policy = response["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page = Markup(response.content.decode())
    assert page.inline == ""
    assert all("src" in script for script in page.all("script"))
    for tag, attributes in page.elements:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith(("on", "hx-on"))], tag
        assert tag != "style"


def test_nonsense_for_a_place_is_refused(board: Client) -> None:
    for query in ("before=x", "before=12", "before=-1-x", "before=1-", "rows=many"):
        assert board.get(f"/?{query}").status_code == 400


def test_it_is_never_kept(board: Client) -> None:
    assert "no-store" in board.get("/")["Cache-Control"]


def test_only_get(board: Client) -> None:
    assert board.post("/").status_code == 405


@pytest.mark.django_db
def test_a_stranger_is_sent_to_the_login_and_back(client: Client) -> None:
    response = client.get("/?severity=high")
    assert response.status_code == 302
    assert response["Location"] == "/admin/login/?next=/%3Fseverity%3Dhigh"


@pytest.mark.django_db
def test_locally_nobody_needs_to_log_in(client: Client, settings: Settings) -> None:
    settings.DEBUG = True
    response = client.get("/")
    assert response.status_code == 200
    assert Markup(response.content.decode()).all("main")[0]["data-may-resolve"] == "yes"


def test_who_may_not_resolve_is_shown_no_way_to(client: Client, reader: User) -> None:
    client.force_login(reader)
    store_patterns(1)
    page = Markup(client.get("/").content.decode())
    assert page.all("main")[0]["data-may-resolve"] == "no"
