"""What every answer of Django says about itself, whoever gave it: headers and the request's id.

A middleware that ends a request early (a redirect to TLS, a file, a preflight, a host that is not
ours) answers without those inside it, and an exception that it raises is answered outside it. So
these stand around all others, and use the others' own code for what they add. They never leave the
event loop: what takes a thread waits for one, on every request.
"""

import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from csp.constants import HEADER
from csp.middleware import CSPMiddleware
from csp.utils import build_policy
from django.http import HttpRequest, HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.deprecation import MiddlewareMixin
from django_permissions_policy import PermissionsPolicyMiddleware

# What answers here tell of visitors is kept by nobody on the way.
_NOT_KEPT = re.compile(r"/(api(/|$)|(events|health|ready|metrics)/?$)")
_REQUEST_ID = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_GIVEN_ID: Final = "HTTP_X_REQUEST_ID"

GetResponse = Callable[[HttpRequest], Any]


class InTheLoop(MiddlewareMixin):
    """A middleware whose halves are so short that they need no thread of their own."""

    def __call__(self, request: HttpRequest) -> Any:
        if self.async_mode:
            return self.__acall__(request)
        self.process_request(request)
        response: Any = self.get_response(request)
        return self.process_response(request, response)

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        self.process_request(request)
        response: Any = self.get_response(request)
        return self.process_response(request, await response)

    def process_request(self, request: HttpRequest) -> None:
        """Before all others; nothing, unless a subclass has something to do."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """After all others; the answer as it is, unless a subclass has something to say."""
        return response


class RequestId(InTheLoop):
    """Drops an X-Request-ID that is no UUID in one of its two usual forms, so that django-guid
    makes one. By itself it would take whatever Python reads as one, white space and all.
    """

    def process_request(self, request: HttpRequest) -> None:
        if not _REQUEST_ID.fullmatch(request.META.get(_GIVEN_ID, "")):
            request.META.pop(_GIVEN_ID, None)


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


class Headers(InTheLoop):
    """Gives every answer the headers that guard it, where it does not have them yet."""

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        self._policy = ContentSecurityPolicy(get_response)
        # Typed loosely: they take any response, and their types say otherwise.
        self._frames: Any = XFrameOptionsMiddleware(get_response)
        self._security: Any = SecurityMiddleware(get_response)
        self._permissions = PermissionsPolicyMiddleware(get_response)

    def process_request(self, request: HttpRequest) -> None:
        self._policy.process_request(request)

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        self._policy.process_response(request, response)
        self._frames.process_response(request, response)
        self._security.process_response(request, response)
        response.setdefault("Permissions-Policy", self._permissions.permissions_policy)
        response.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        if _NOT_KEPT.match(request.path_info):
            response.setdefault("Cache-Control", "no-store")
        return response
