"""POST /patterns/<id>/resolve and /reopen."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from dashboard.feed import render_row
from detection.engine.patterns import ChangeKind
from detection.models import Pattern, PatternChange, Site
from tests.dashboard.factories import change, found, store_pattern


@pytest.fixture
def pattern(db: None) -> Pattern:
    return store_pattern("one")


def test_resolving_answers_with_the_row_as_it_is_now(fragments: Client, pattern: Pattern) -> None:
    response = fragments.post("/patterns/one/resolve")
    pattern.refresh_from_db()
    assert response.status_code == 200
    assert pattern.resolved
    assert pattern.resolved_by == "rita"
    assert response.content.decode() == render_row(pattern)


def test_reopening_takes_it_back(fragments: Client, pattern: Pattern) -> None:
    fragments.post("/patterns/one/resolve")
    response = fragments.post("/patterns/one/reopen")
    pattern.refresh_from_db()
    assert not pattern.resolved
    assert 'data-state="open"' in response.content.decode()


@pytest.mark.usefixtures("pattern")
def test_doing_it_twice_is_one_step(fragments: Client) -> None:
    assert fragments.post("/patterns/one/resolve").status_code == 200
    assert fragments.post("/patterns/one/resolve").status_code == 200
    assert PatternChange.objects.filter(kind="resolved").count() == 1


@pytest.mark.usefixtures("pattern")
def test_what_recovered_stays_closed(fragments: Client) -> None:
    change(ChangeKind.RECOVERED, found("one"), after=1000)
    response = fragments.post("/patterns/one/reopen")
    assert 'data-state="recovered"' in response.content.decode()


@pytest.mark.parametrize("action", ["resolve", "reopen"])
def test_an_unknown_pattern_is_not_found(fragments: Client, action: str) -> None:
    assert fragments.post(f"/patterns/nowhere/{action}").status_code == 404


def test_another_sites_pattern_is_not_found(fragments: Client) -> None:
    other = Site.objects.create(name="Other")
    store_pattern("theirs", site=other.pk)
    assert fragments.post("/patterns/theirs/resolve").status_code == 404
    assert not Pattern.objects.get(pk="theirs").resolved


@pytest.mark.usefixtures("pattern")
@pytest.mark.parametrize("action", ["resolve", "reopen"])
def test_only_post(board: Client, action: str) -> None:
    assert board.get(f"/patterns/one/{action}").status_code == 405


def test_who_may_only_look_may_not(client: Client, reader: User, pattern: Pattern) -> None:
    client.force_login(reader)
    assert client.post("/patterns/one/resolve").status_code == 403
    pattern.refresh_from_db()
    assert not pattern.resolved


@pytest.mark.usefixtures("pattern")
def test_a_stranger_may_not(client: Client) -> None:
    assert client.post("/patterns/one/resolve").status_code == 403


def test_locally_nobody_needs_a_name(client: Client, settings: Settings, pattern: Pattern) -> None:
    settings.DEBUG = True
    client.post("/patterns/one/resolve")
    pattern.refresh_from_db()
    assert pattern.resolved
    assert pattern.resolved_by == ""


def test_another_site_cannot_do_it_for_them(resolver: User, pattern: Pattern) -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(resolver)
    assert careful.post("/patterns/one/resolve").status_code == 403
    pattern.refresh_from_db()
    assert not pattern.resolved


@pytest.mark.usefixtures("pattern")
def test_without_scripts_it_goes_back_to_the_page(board: Client) -> None:
    response = board.post("/patterns/one/resolve", {"next": "/?severity=low"})
    assert response.status_code == 302
    assert response["Location"] == "/?severity=low"


@pytest.mark.usefixtures("pattern")
@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", ""])
def test_it_never_goes_elsewhere(board: Client, elsewhere: str) -> None:
    response = board.post("/patterns/one/resolve", {"next": elsewhere})
    assert response["Location"] == "/"
