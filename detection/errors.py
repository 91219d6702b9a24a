"""One shape for every error of the API, also of those that Django answers by itself."""

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.deprecation import MiddlewareMixin

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
