"""Sites: who may send events, and the script tag that makes a page send them."""

import re
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import escape

from detection.models import DEFAULT_SITE_ID, Site

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")


def as_origin(line: str) -> str:
    """An origin as browsers write it; raises ValidationError for what is not one."""
    try:
        origin = _origin(line)
    except ValueError:  # of which UnicodeError is one
        origin = ""
    if not origin:
        raise ValidationError(
            "“%(line)s” is not an origin. An origin is a scheme, a host and perhaps a port, "
            "such as https://shop.example or http://localhost:3000.",
            code="origin",
            params={"line": line},
        )
    return origin


def _origin(line: str) -> str:
    """The origin; "" or ValueError where there is none."""
    parts = urlsplit(line)
    host = (parts.hostname or "").encode("idna").decode("ascii")
    host = f"[{host}]" if ":" in host else host
    beyond = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in _PORTS or beyond or not _HOST.fullmatch(host):
        return ""
    usual = parts.port in (None, _PORTS[parts.scheme])
    return f"{parts.scheme}://{host}" + ("" if usual else f":{parts.port}")


class SiteForm(forms.ModelForm):
    class Meta:
        model = Site
        fields = ["name", "allowed_origins"]

    def clean_allowed_origins(self) -> str:
        """One origin a line, each once, as a browser's Origin header has it."""
        origins: list[str] = []
        errors: list[ValidationError] = []
        for line in self.cleaned_data["allowed_origins"].split():
            try:
                origins.append(as_origin(line))
            except ValidationError as error:
                errors.append(error)
        if errors:
            raise ValidationError(errors)
        return "\n".join(dict.fromkeys(origins))


@admin.register(Site)
class SiteAdmin(admin.ModelAdmin):
    form = SiteForm
    list_display = ["name", "allowed", "patterns_detected", "created_at"]
    search_fields = ["name", "key"]
    sortable_by = ["name", "created_at"]
    actions = None
    readonly_fields = ["key", "patterns_detected", "last_change", "created_at"]

    class Media:
        css = {"all": ["detection/admin.css"]}

    def get_fieldsets(self, request: HttpRequest, obj: Site | None = None) -> Any:
        mine: list[Any] = [(None, {"fields": ["name", "allowed_origins"]})]
        if obj is not None:
            counts = ["key", "patterns_detected", "last_change", "created_at"]
            mine.append(("Kept by BehaviourLens", {"fields": counts}))
        return mine

    def has_delete_permission(self, request: HttpRequest, obj: Site | None = None) -> bool:
        """Only for a site that nothing was detected on, and never for the default one."""
        if obj is not None and (obj.pk == DEFAULT_SITE_ID or obj.last_change):
            return False
        return super().has_delete_permission(request, obj)

    @admin.display(description="allowed origins")
    def allowed(self, site: Site) -> str:
        return ", ".join(sorted(site.origins)) or "any"

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Site | None = None,
    ) -> HttpResponse:
        if obj is not None:
            # Text to copy, so markup in plain words: the template escapes it once more.
            script = escape(request.build_absolute_uri(reverse("lens_js")))
            context["script_tag"] = (
                f'<script src="{script}" data-site="{escape(obj.key)}" defer></script>'
            )
        return super().render_change_form(request, context, add, change, form_url, obj)
