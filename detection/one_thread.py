"""One change of threads a request instead of two a middleware."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase


class OneThread:
    """The innermost middleware, and a synchronous one: so that all outside it are as well.

    Otherwise Django would run each of them in the event loop and hand its two halves to a thread
    one by one. Every change of threads waits for a turn of the loop, and a page for sixty of them:
    the longest part of its answer as soon as the loop has much to do.
    """

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._get_response(request)
