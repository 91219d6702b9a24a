"""Errors that others would answer in a shape of their own."""

from dataclasses import asdict

from csp.constants import HEADER
from csp.middleware import CSPMiddleware
from csp.utils import build_policy
from django.http import HttpRequest, HttpResponseBase, HttpResponseNotFound, JsonResponse
from django.utils.deprecation import MiddlewareMixin
from servestatic.middleware import ServeStaticMiddleware
from servestatic.responders import MissingFileError

from detection.wire import error_body

_PATHS = ("/api/", "/events", "/health")
_SAID = {
    400: ("bad_request", "The request cannot be read."),
    403: ("forbidden", "This is not allowed."),
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "This path does not take this method."),
    500: ("error", "Something went wrong on the server; it has been logged."),
}


class JsonErrors(MiddlewareMixin):
    """Gives the API's errors their JSON body, where Django would answer with a page."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        said = _SAID.get(response.status_code)
        if (
            said is None
            or not request.path_info.startswith(_PATHS)
            or response.get("Content-Type", "").startswith("application/json")
        ):
            return response
        answer = JsonResponse(error_body(*said), status=response.status_code)
        if "Allow" in response:
            answer["Allow"] = response["Allow"]
        return answer


class ContentSecurityPolicy(CSPMiddleware):
    """django-csp, which leaves a 404 without a policy while DEBUG is on, for Django's own page."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        response = super().process_response(request, response)
        if response.status_code == 404 and HEADER not in response:
            parts = self.get_policy_parts(request=request, response=response)
            response[HEADER] = build_policy(**asdict(parts))
        return response


class StaticFiles(ServeStaticMiddleware):
    """ServeStatic, for which a file that is not there is a 404 with DEBUG on as well."""

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            return await super().__call__(request)
        except MissingFileError:
            return HttpResponseNotFound("There is no such file.\n", content_type="text/plain")
