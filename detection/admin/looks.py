"""How times, severities and names are written in the admin; everything is escaped."""

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from detection.engine.patterns import Severity

SHORT_PAGE = 48
SHORT_ID = 12
SHORT_KNOWN = 28


def moment(at: datetime | None, exact: bool = False) -> SafeString | str:
    """A time in UTC, to the second or to the millisecond; "—" for none."""
    if at is None:
        return "—"
    iso = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    day, time = f"{at:%-d %b %Y}", f"{at:%H:%M:%S}"
    if exact:
        time += f".{at.microsecond // 1000:03} UTC"
    shape = '<time datetime="{}">{}, <span class="bl-time">{}</span></time>'
    return format_html(shape, iso, day, time)


def mark(kind: str, value: str) -> SafeString:
    """A word that a style sheet may colour; it can be told without the colour."""
    return format_html('<span class="bl-{} bl-{}">{}</span>', kind, value, value.capitalize())


def severity_mark(severity: int) -> SafeString:
    return mark("severity", Severity(severity).label)


def plain(name: str) -> str:
    """A name from code in plain words: `tab_hidden` is `Tab hidden`."""
    return name.replace("-", " ").replace("_", " ").strip().capitalize()


def short(text: str, length: int) -> SafeString | str:
    """The beginning of a long text, whole when pointed at."""
    if len(text) <= length:
        return text
    return format_html('<span title="{}">{}</span>', text, Truncator(text).chars(length))


def visitor(user_id: str, identified: str) -> SafeString:
    """A visitor for a list: the id that a site knows them by, and the beginning of their own."""
    own = format_html("<code>{}</code>", short(user_id, SHORT_ID))
    if not identified:
        return own
    return format_html('<b class="bl-known">{}</b> {}', short(identified, SHORT_KNOWN), own)


def dashboard_url(user_id: str) -> str:
    """The dashboard with this visitor's window open."""
    return f"{admin.site.site_url}?{urlencode({'visitor': user_id})}"


def pattern_url(pattern_id: Any) -> str:
    """A pattern's page in the admin, where an id may hold what admin addresses escape."""
    return reverse("admin:detection_pattern_change", args=[quote(pattern_id)])
