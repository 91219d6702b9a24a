"""The dashboard's door."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django_htmx.middleware import HtmxDetails

from detection.api import Site, may_read, may_resolve, site_of

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]
SiteView = Callable[Concatenate[HttpRequest, Site, P], HttpResponseBase]


def htmx_of(request: HttpRequest) -> HtmxDetails:
    """What htmx says of the request; false where it is not htmx's."""
    return cast(HtmxDetails, request.htmx)  # type: ignore[attr-defined]


def for_readers(view: SiteView[P]) -> View[P]:
    """Hand the view its site, if this person may see it; else to the login, and back here.

    A fragment cannot show a login page in its place: it answers 403.
    """

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        site = site_of(request)
        if may_read(request.user, site.pk):
            return view(request, site, *args, **kwargs)
        if request.method == "GET" and not htmx_of(request):
            return redirect_to_login(request.get_full_path())
        return refuse(request, 403)

    return guarded


def for_resolvers(view: SiteView[P]) -> View[P]:
    """Hand the view its site, if this person may resolve its patterns; else 403."""

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        site = site_of(request)
        if may_resolve(request.user, site.pk):
            return view(request, site, *args, **kwargs)
        return refuse(request, 403)

    return guarded


def refuse(request: HttpRequest, status: int) -> HttpResponse:
    """A page that says why not: 400, 403, 404 or 503."""
    return render(request, "dashboard/refusal.html", {"status": status}, status=status)
