"""The tracker as it is served, and the tag that puts it into a page."""

import gzip
import re

import pytest
from django.template import Context, Template
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from detection.engine.events import ACTIONS
from detection.models import DEFAULT_SITE_ID, Site
from detection.tracker_views import SCRIPT, accepts_gzip

SOURCE = SCRIPT.read_bytes()
MAX_PACKED = 4096  # bytes


# --- the script --------------------------------------------------------------------------
def test_it_takes_at_most_4_kb_gzipped() -> None:
    assert len(gzip.compress(SOURCE, 9)) <= MAX_PACKED


def test_it_knows_the_actions_that_the_engine_knows() -> None:
    found = re.search(rb'const ACTIONS =\s*"([a-z_ ]+)"', SOURCE)
    assert found
    assert set(found[1].decode().split()) == ACTIONS


def test_its_readme_lists_every_action() -> None:
    readme = (SCRIPT.parent / "README.md").read_text()
    assert [action for action in sorted(ACTIONS) if f"`{action}`" not in readme] == []


# --- GET /lens.js ------------------------------------------------------------------------
def test_it_is_served_as_it_is_written(client: Client) -> None:
    response = client.get("/lens.js")
    assert response.status_code == 200
    assert response.content == SOURCE
    assert response["Content-Type"] == "application/javascript; charset=utf-8"
    assert response["Content-Length"] == str(len(SOURCE))
    assert response["Cache-Control"] == "public, max-age=3600"
    assert response["Access-Control-Allow-Origin"] == "*"
    assert response["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "Content-Encoding" not in response


def test_it_sets_no_cookie_and_varies_by_encoding_alone(client: Client) -> None:
    response = client.get("/lens.js")
    assert not response.cookies
    assert response["Vary"] == "Accept-Encoding"


def test_it_is_gzipped_where_that_is_accepted(client: Client) -> None:
    response = client.get("/lens.js", headers={"Accept-Encoding": "br, gzip"})
    assert response["Content-Encoding"] == "gzip"
    assert response["Content-Length"] == str(len(response.content))
    assert gzip.decompress(response.content) == SOURCE
    assert len(response.content) <= MAX_PACKED


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP;q=0.5", True),
        ("gzip; q=0", False),
        ("gzip;q=0.000", False),
        ("br", False),
        ("*", True),
        ("*, gzip;q=0", False),
        ("identity, *;q=0", False),
    ],
)
def test_what_an_accept_encoding_header_says(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_known_copy_is_answered_with_304(client: Client, encoding: str) -> None:
    headers = {"Accept-Encoding": encoding}
    first = client.get("/lens.js", headers=headers)
    again = client.get("/lens.js", headers=headers | {"If-None-Match": first["ETag"]})
    assert again.status_code == 304
    assert again.content == b""
    assert again["ETag"] == first["ETag"]
    assert again["Cache-Control"] == first["Cache-Control"]
    assert again["Vary"] == "Accept-Encoding"
    assert again["Access-Control-Allow-Origin"] == "*"


def test_each_encoding_has_its_own_tag(client: Client) -> None:
    plain = client.get("/lens.js")["ETag"]
    packed = client.get("/lens.js", headers={"Accept-Encoding": "gzip"})["ETag"]
    assert plain != packed
    stale = client.get("/lens.js", headers={"If-None-Match": packed})
    assert stale.status_code == 200


def test_head_has_the_headers_alone(client: Client) -> None:
    response = client.head("/lens.js")
    assert response.status_code == 200
    assert response.content == b""
    assert response["Content-Length"] == str(len(SOURCE))
    assert response["ETag"] == client.get("/lens.js")["ETag"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_other_methods_are_refused(client: Client, method: str) -> None:
    response = client.generic(method, "/lens.js")
    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD"


def test_it_asks_no_database(client: Client) -> None:
    """Without the `db` fixture a query would fail."""
    assert client.get("/lens.js").status_code == 200


# --- {% lens_script %} -------------------------------------------------------------------
def render(arguments: str = "", **values: object) -> str:
    return Template("{% load lens %}{% lens_script " + arguments + " %}").render(Context(values))


@pytest.fixture
def key(db: None) -> str:
    return Site.objects.get(pk=DEFAULT_SITE_ID).key


def test_the_tag_names_the_default_site(
    key: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(1):
        tag = render()
    assert tag == f'<script src="/lens.js" data-site="{key}" defer></script>'


def test_the_tag_takes_base_hash_routing_and_site() -> None:
    tag = render('base="/demo" hash_routing=True site="abc"')
    assert tag == (
        '<script src="/lens.js" data-site="abc" data-base="/demo" data-hash-routing defer></script>'
    )


def test_the_tag_escapes_what_it_is_given() -> None:
    hostile = '"><script>alert(1)</script>'
    tag = render("base=base site=site", base=hostile, site=hostile)
    assert tag.count("<script") == 1
    assert tag.count("&quot;&gt;&lt;script&gt;") == 2


@pytest.mark.django_db
def test_a_page_does_not_break_where_the_default_site_is_gone() -> None:
    Site.objects.all().delete()
    assert render() == '<script src="/lens.js" defer></script>'
