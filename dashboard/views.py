"""The dashboard's page, its fragments, its stream, and what people do on it."""

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from dashboard.access import for_readers, for_resolvers, htmx_of, refuse
from dashboard.feed import (
    MOST_ROWS,
    PAGE_ROWS,
    latest_alert,
    parse_cursor,
    read_feed,
    render_row,
)
from dashboard.filters import Filters
from dashboard.live import read_metrics, read_sessions
from dashboard.visitor import read_visitor
from dashboard.words import SEVERITIES, TYPES
from detection import api
from detection.api import Pattern, Site

logger = logging.getLogger(__name__)

# A visitor's id, as long as ingest lets it be.
MOST_ID = 128


@never_cache
@require_GET
@for_readers
def page(request: HttpRequest, site: Site) -> HttpResponse:
    """The whole dashboard. `site` was read before the feed, so the stream can go on from its
    last change and nothing falls between the two."""
    try:
        context = _feed_context(request, site) | _live_context(site)
    except ValueError:
        return refuse(request, 400)
    context |= {
        "chosen": read_visitor(site.pk, _visitor_id(request.GET)),
        "types": TYPES,
        "severities": SEVERITIES,
        "may_resolve": api.may_resolve(request.user, site.pk),
        "most_rows": MOST_ROWS,
    }
    return render(request, "dashboard/page.html", context)


@never_cache
@require_GET
@for_readers
def feed(request: HttpRequest, site: Site) -> HttpResponse:
    """The feed: filtered anew; with `before`, the rows that follow; with `resync`, with
    everything else that may have changed while the page was not connected."""
    try:
        context = _feed_context(request, site)
    except ValueError:
        return refuse(request, 400)
    if "before" in request.GET:
        return render(request, "dashboard/_rows.html", context)
    if "resync" in request.GET:
        return render(request, "dashboard/_resync.html", context | _live_context(site))
    response = render(request, "dashboard/_feed.html", context)
    return _name_place(request, response, context["filters"], _visitor_id(request.GET))


@never_cache
@require_GET
@for_readers
def visitor(request: HttpRequest, site: Site) -> HttpResponse:
    """A visitor's window; 204 if it is the one that the panel shows (`have`)."""
    chosen = read_visitor(site.pk, _visitor_id(request.GET))
    have = request.GET.get("have")
    if have == chosen.version:
        return HttpResponse(status=204)
    response = render(request, "dashboard/_visitor.html", {"chosen": chosen})
    if have is None:
        return _name_place(request, response, _filters_here(request), chosen.user_id)
    return response


@require_GET
@for_readers
def stream(request: HttpRequest, site: Site) -> HttpResponseBase:
    """The one stream of a page: rows, and what passes by (figures, sessions)."""
    return api.open_stream(request, site=site.pk, feed="rows", passing=["live"])


@require_POST
@for_resolvers
def resolve(request: HttpRequest, site: Site, pattern_id: str) -> HttpResponse:
    """Mark a pattern resolved; answers with its row."""
    return _act(request, site, pattern_id, api.resolve)


@require_POST
@for_resolvers
def reopen(request: HttpRequest, site: Site, pattern_id: str) -> HttpResponse:
    """Take a resolution back; answers with its row."""
    return _act(request, site, pattern_id, api.reopen)


def _act(
    request: HttpRequest, site: Site, pattern_id: str, act: Callable[..., Pattern]
) -> HttpResponse:
    if not Pattern.objects.for_site(site.pk).filter(pk=pattern_id).exists():
        return refuse(request, 404)
    try:
        pattern = act(pattern_id, by=api.name_of(request.user))
    except Pattern.DoesNotExist:
        return refuse(request, 404)
    except OperationalError as error:
        logger.warning("The database did not take a change in time: %s", error)
        return refuse(request, 503)
    if htmx_of(request):
        return HttpResponse(render_row(pattern))
    return HttpResponseRedirect(_way_back(request))


def _way_back(request: HttpRequest) -> str:
    """Where the form was, if that is one of our own pages."""
    back = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(back, {request.get_host()}, request.is_secure())
    return back if safe else reverse("dashboard")


def _feed_context(request: HttpRequest, site: Site) -> dict[str, Any]:
    """Raises ValueError where `before` or `rows` is nonsense."""
    query = request.GET
    filters = Filters.asked(query)
    after = parse_cursor(query["before"]) if query.get("before") else None
    rows = min(max(int(query.get("rows") or PAGE_ROWS), PAGE_ROWS), MOST_ROWS)
    return {
        "site": site,
        "filters": filters,
        "feed": read_feed(site.pk, filters, rows, after),
        "tracker_address": request.build_absolute_uri("/lens.js"),
    }


def _live_context(site: Site) -> dict[str, Any]:
    return {
        "latest": latest_alert(site.pk),
        "metrics": read_metrics(site),
        "sessions": read_sessions(site.pk),
    }


def _visitor_id(query: QueryDict) -> str:
    return query.get("visitor", "").replace("\0", "")[:MOST_ID]


def _filters_here(request: HttpRequest) -> Filters:
    """The filters of the page that the request came from."""
    here = htmx_of(request).current_url_abs_path
    return Filters.asked(QueryDict(urlsplit(here).query if here else ""))


def _name_place(
    request: HttpRequest, response: HttpResponse, filters: Filters, visitor: str
) -> HttpResponse:
    """Give the page the address of what it shows now, so that it can be kept and gone back to.

    A search is typed letter by letter, which makes one place, not many.
    """
    before = _filters_here(request)
    typing = before.q != filters.q
    address = reverse("dashboard") + filters.address(visitor)
    response["HX-Replace-Url" if typing else "HX-Push-Url"] = address
    return response
