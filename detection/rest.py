"""The query API, through django-ninja: /api/…, GET /events, /health, /ready and /metrics.

Names and shapes are a contract; clients written for them exist. Bare JSON, arrays newest
first unless said otherwise; every error is `{"error": {"code", "message", "field"}}`.
"""

import logging
from typing import Annotated, Any, Literal

from django.core.exceptions import SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI, Query, Schema
from ninja.errors import HttpError, ValidationError
from ninja.responses import Status
from pydantic import BaseModel, Field

from detection import access, clock, live, metrics, resolution
from detection.condition import condition
from detection.models import Pattern
from detection.queueing import EngineUnavailable
from detection.seldom import Seldom
from detection.shapes import (
    ErrorOut,
    EventOut,
    HealthOut,
    PatternOut,
    ReadyOut,
    StatsOut,
    VisitorOut,
    event_out,
    pattern_out,
)
from detection.wire import error_body

logger = logging.getLogger(__name__)

api = NinjaAPI(
    title="BehaviourLens",
    version="1",
    description="Friction as it forms: patterns, counters, and who is here now.",
    urls_namespace="api",
    docs_url="/api/docs",
    openapi_url="/api/openapi.json",
)

# A NUL is in no text that is kept, and PostgreSQL takes none in a question either.
NO_NUL = r"^[^\x00]*$"
_ERRORS = {400: ErrorOut, 403: ErrorOut, 503: ErrorOut}
READY_RETRY_S = 5
_worth_saying = Seldom(60)


class PatternFilter(Schema):
    """Filters of GET /api/patterns; all of them apply before the limit."""

    limit: Annotated[int, Field(ge=1, le=500)] = 50
    severity: Literal["", "low", "medium", "high"] = ""
    type: Annotated[str, Field(max_length=40, pattern=NO_NUL)] = ""
    user: Annotated[
        str, Field(max_length=128, pattern=NO_NUL, description="a visitor's id or identified id")
    ] = ""
    q: Annotated[
        str, Field(max_length=200, pattern=NO_NUL, description="in visitor, page or explanation")
    ] = ""
    before: Annotated[
        str, Field(max_length=64, pattern=NO_NUL, description="a pattern_id, for paging")
    ] = ""


class Resolution(BaseModel):
    """What may be said when resolving."""

    note: Annotated[str, Field(max_length=2000, pattern=NO_NUL)] | None = None


def _site(request: HttpRequest) -> int:
    site = access.site_of(request)
    if not access.may_read(request.user, site.pk):
        raise HttpError(403, "You may not see this site; log in with an account that may.")
    return site.pk


@api.get("/api/patterns", response={200: list[PatternOut], **_ERRORS}, tags=["patterns"])
def patterns(request: HttpRequest, filters: Query[PatternFilter]) -> Any:
    """Patterns, the newest first."""
    site = _site(request)
    found = (
        Pattern.objects.for_site(site)
        .matching(severity=filters.severity, type=filters.type, user=filters.user, q=filters.q)
        .newest_first()
    )
    if filters.before:
        last = Pattern.objects.for_site(site).filter(pk=filters.before).first()
        if last is None:
            raise _bad_parameter("before", "before is not the id of a pattern")
        found = found.before(last)
    return [pattern_out(pattern) for pattern in found[: filters.limit]]


@api.patch(
    "/api/patterns/{pattern_id}/resolve",
    response={200: PatternOut, **_ERRORS, 404: ErrorOut},
    tags=["patterns"],
)
def resolve_pattern(request: HttpRequest, pattern_id: str, body: Resolution | None = None) -> Any:
    """Mark a pattern resolved; doing so again changes nothing."""
    site = _site(request)
    if not access.may_resolve(request.user, site):
        raise HttpError(403, "You may not resolve patterns of this site.")
    known = Pattern.objects.for_site(site)
    if "\x00" in pattern_id or not known.filter(pk=pattern_id).exists():
        raise HttpError(404, "There is no such pattern.")
    note = body.note if body else None
    return pattern_out(resolution.resolve(pattern_id, access.name_of(request.user), note))


@api.get("/api/stats", response={200: StatsOut, **_ERRORS}, tags=["live"])
def stats(request: HttpRequest) -> Any:
    """Counters of the site; they go on over restarts. `abandonment_rate` is 0-1."""
    return live.stats(_site(request))


@api.get("/api/users/active", response={200: list[VisitorOut], **_ERRORS}, tags=["live"])
def active_users(
    request: HttpRequest,
    within: Annotated[int, Query(ge=1, le=300, description="seconds")] = 60,
) -> Any:
    """Visitors heard within the last `within` seconds."""
    return [
        VisitorOut(
            user_id=visitor.user_id,
            current_page=visitor.current_page,
            last_seen=visitor.last_seen,
            identified=visitor.identified or None,
        )
        for visitor in live.active_visitors(_site(request), within * 1000)
    ]


@api.get(
    "/api/users/{path:user_id}/events",
    response={200: list[EventOut], **_ERRORS, 404: ErrorOut},
    tags=["live"],
)
def events_of_user(request: HttpRequest, user_id: str) -> Any:
    """What a visitor did in the last five minutes, oldest first."""
    return _window(request, user_id)


@api.get("/events", response={200: list[EventOut], **_ERRORS, 404: ErrorOut}, tags=["live"])
def events(
    request: HttpRequest, user_id: Annotated[str, Query(min_length=1, max_length=128)]
) -> Any:
    """The same as /api/users/{user_id}/events, for ids that do not go well in a path."""
    return _window(request, user_id)


def _window(request: HttpRequest, user_id: str) -> list[EventOut]:
    window = live.visitor_window(_site(request), user_id)
    if window is None:
        raise HttpError(404, "This visitor has done nothing in the last five minutes.")
    return [event_out(event) for event in window.events]


# Both are async, and Django runs each request in a thread of its own, so neither waits for a
# thread, for the database or for the engine: they answer while everything else is at its limit.
@api.api_operation(
    ["GET", "HEAD"],
    "/health",
    response={200: HealthOut, 503: ErrorOut},
    exclude_none=True,
    tags=["operation"],
)
async def health(request: HttpRequest) -> Any:
    """Whether the server lives. `degraded`: it does, and `reasons` says what is amiss.

    `timestamp` is epoch ms. 503 where a thread has ended: only a restart helps.
    """
    told = condition(live.runtime())
    if not told.alive:
        raise EngineUnavailable("a thread of the server has ended")
    now = clock.now_ms()
    if told.well:
        return HealthOut(status="ok", timestamp=now)
    return HealthOut(status="degraded", timestamp=now, reasons=told.reasons)


@api.api_operation(
    ["GET", "HEAD"],
    "/ready",
    response={200: ReadyOut, 503: ReadyOut},
    exclude_none=True,
    tags=["operation"],
)
async def ready(request: HttpRequest, response: HttpResponse) -> Any:
    """Whether to send events here: for a load balancer. `reasons` explains each false check."""
    told = condition(live.runtime())
    if told.well:
        return ReadyOut(status="ready", checks=told.checks)
    response["Retry-After"] = str(READY_RETRY_S)
    return Status(503, ReadyOut(status="not ready", checks=told.checks, reasons=told.reasons))


@api.api_operation(
    ["GET", "HEAD"],
    "/metrics",
    response={403: ErrorOut, 503: ErrorOut},
    openapi_extra={"responses": {200: {"description": "OK", "content": {"text/plain": {}}}}},
    tags=["operation"],
)
def metrics_page(request: HttpRequest) -> Any:
    """For Prometheus: its text format, or OpenMetrics where it asks for that."""
    if not metrics.may_scrape(request):
        raise HttpError(403, "Show the token of `manage.py metrics_token`, or log in as staff.")
    page, content_type = metrics.exposition(request.headers.get("Accept", ""))
    return HttpResponse(page, content_type=content_type, headers={"Cache-Control": "no-store"})


class _BadParameter(Exception):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def _bad_parameter(field: str, message: str) -> _BadParameter:
    return _BadParameter(field, message)


_CODES = {400: "bad_request", 401: "login_needed", 403: "forbidden", 404: "not_found", 503: "busy"}


def _error(
    request: HttpRequest, status: int, message: str, field: str | None = None
) -> HttpResponse:
    body = error_body(_CODES.get(status, "error"), message, field)
    return api.create_response(request, body, status=status)


@api.exception_handler(HttpError)
def _on_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return _error(request, error.status_code, str(error))


@api.exception_handler(Http404)
def _on_not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    return _error(request, 404, "There is nothing here.")


@api.exception_handler(_BadParameter)
def _on_bad_parameter(request: HttpRequest, error: _BadParameter) -> HttpResponse:
    return _error(request, 400, str(error), error.field)


@api.exception_handler(ValidationError)
def _on_invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    first = error.errors[0]
    field = str(first["loc"][-1]) if first.get("loc") else None
    message = str(first["msg"])
    return _error(request, 400, f"{field}: {message[:1].lower()}{message[1:]}", field)


@api.exception_handler(SuspiciousOperation)
def _on_suspicious(request: HttpRequest, error: SuspiciousOperation) -> HttpResponse:
    return _error(request, 400, "The request is larger than any that makes sense.")


@api.exception_handler(OperationalError)
@api.exception_handler(InterfaceError)
def _on_database_trouble(request: HttpRequest, error: Exception) -> HttpResponse:
    # That there is trouble, and that it is over, is said by those who write.
    if _worth_saying.now():
        logger.warning("The database did not answer a request in time: %s", error)
    response = _error(request, 503, "The database is busy; try again shortly.")
    response["Retry-After"] = "5"
    return response


@api.exception_handler(EngineUnavailable)
def _on_unavailable(request: HttpRequest, error: EngineUnavailable) -> HttpResponse:
    response = _error(request, 503, f"{error}"[:1].upper() + f"{error}."[1:])
    response["Retry-After"] = "1"
    return response
