"""Errors that others would answer in a shape of their own."""

from typing import Final

from django.http import HttpRequest, HttpResponseBase, HttpResponseNotFound, JsonResponse
from servestatic.middleware import ServeStaticMiddleware
from servestatic.responders import MissingFileError

from detection.headers import InTheLoop
from detection.wire import error_body

_PATHS: Final = ("/api/", "/events", "/health", "/ready", "/metrics")
_SAID: Final = {
    400: ("bad_request", "The request cannot be read."),
    403: ("forbidden", "This is not allowed."),
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "This path does not take this method."),
    500: ("error", "Something went wrong on the server; it has been logged."),
}
# Of the body that is not sent.
_OF_THE_BODY: Final = frozenset({"content-type", "content-length", "content-encoding", "etag"})


class JsonErrors(InTheLoop):
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
        for name, value in response.items():
            if name.lower() not in _OF_THE_BODY:
                answer[name] = value
        answer["Content-Length"] = str(len(answer.content))
        answer.cookies = response.cookies
        return answer


class StaticFiles(ServeStaticMiddleware):
    """ServeStatic, for which a file that is not there is a 404 with DEBUG on as well."""

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            return await super().__call__(request)
        except MissingFileError:
            return HttpResponseNotFound("There is no such file.\n", content_type="text/plain")
