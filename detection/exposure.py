"""System checks of what lets in more people than its operator may think.

Those that need no database run with every check; the two that ask it run where Django checks
databases, as those in detection/checks.py do.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Tags, Warning, register
from django.core.checks.security.base import (
    SECRET_KEY_INSECURE_PREFIX,
    SECRET_KEY_MIN_LENGTH,
    SECRET_KEY_MIN_UNIQUE_CHARACTERS,
)
from django.db import DEFAULT_DB_ALIAS, Error

from detection.models import Site

# Names of this machine; the second is what Django's test client asks for.
_OURS: Final = frozenset({"localhost", "testserver"})
ANY: Final = "*"


@register(Tags.security)
def debug_on_this_machine_only(**others: Any) -> list[CheckMessage]:
    """detection.W005: everything is open, under a name that others can reach."""
    if not settings.DEBUG:
        return []
    reachable = [host for host in settings.ALLOWED_HOSTS if not _of_this_machine(host)]
    if not reachable:
        return []
    hint = (
        "With DEBUG on nobody logs in: whoever reaches the server sees every visitor and resolves "
        "patterns, and an error shows its source. Set DEBUG=off, with SECRET_KEY and ALLOWED_HOSTS."
    )
    said = f"DEBUG is on, and ALLOWED_HOSTS names more than this machine: {', '.join(reachable)}."
    return [Warning(said, hint=hint, id="detection.W005")]


@register(Tags.security)
def encrypted(**others: Any) -> list[CheckMessage]:
    """detection.W006: passwords and cookies in clear text."""
    if settings.DEBUG or not settings.BL_INSECURE_HTTP:
        return []
    hint = (
        "Whoever is on the way can read passwords, cookies and visitors' events, and act as the "
        "people they belong to. It is meant for a trusted local network; elsewhere put a proxy "
        "with TLS in front, and take BL_INSECURE_HTTP away."
    )
    said = "BL_INSECURE_HTTP is on: nothing redirects to TLS, and cookies go without Secure."
    return [Warning(said, hint=hint, id="detection.W006")]


@register(Tags.security)
def rates_limited(**others: Any) -> list[CheckMessage]:
    """detection.W007: one sender may fill the queue for all."""
    if settings.DEBUG or settings.BL_RATE_LIMIT is not None:
        return []
    hint = (
        "One address can send as much as the machine takes, and the events of others are answered "
        "503 meanwhile. `off` is for a load test; take BL_RATE_LIMIT away, or set it as 1000/20000."
    )
    said = "BL_RATE_LIMIT is off: nobody is told that he sends too fast."
    return [Warning(said, hint=hint, id="detection.W007")]


@register(Tags.security)
def api_for_named_origins(**others: Any) -> list[CheckMessage]:
    """detection.W008: scripts of any site may call the API."""
    if settings.DEBUG or ANY not in settings.BL_API_ORIGINS:
        return []
    hint = (
        "A script of any page can then use the API with a token that it has come by, and read the "
        "answers in its visitor's browser. `*` is for local work; name the origins that need it."
    )
    said = "BL_API_ORIGINS holds *: the API is open to scripts of any origin."
    return [Warning(said, hint=hint, id="detection.W008")]


@register(Tags.security)
def key_is_secret(**others: Any) -> list[CheckMessage]:
    """detection.W009: SECRET_KEY can be guessed."""
    if settings.DEBUG:
        return []
    key = settings.SECRET_KEY
    if (
        len(key) >= SECRET_KEY_MIN_LENGTH
        and len(set(key)) >= SECRET_KEY_MIN_UNIQUE_CHARACTERS
        and not key.startswith(SECRET_KEY_INSECURE_PREFIX)
    ):
        return []
    hint = (
        "Who guesses it makes himself a session of anybody, and the token of /metrics. Set it to "
        "what this prints: python -c 'import secrets; print(secrets.token_urlsafe(50))'. Everyone "
        "logs in anew then, and `manage.py metrics_token` prints another token."
    )
    said = f"SECRET_KEY is short of {SECRET_KEY_MIN_LENGTH} characters, or not random."
    return [Warning(said, hint=hint, id="detection.W009")]


@register(Tags.security)
def hosts_named(**others: Any) -> list[CheckMessage]:
    """detection.W010: whatever a request claims to have asked for is believed."""
    if settings.DEBUG or ANY not in settings.ALLOWED_HOSTS:
        return []
    hint = (
        "The addresses that the server writes, as in redirects to TLS and in the script tag that "
        "the dashboard shows, then come from the request; a cache in front may keep them for "
        "others. Name the hosts it serves."
    )
    said = "ALLOWED_HOSTS holds *: any host name is answered as our own."
    return [Warning(said, hint=hint, id="detection.W010")]


@register(Tags.database)
def origins_named(databases: Sequence[str] | None = None, **others: Any) -> list[CheckMessage]:
    """detection.W011: a site that takes events from pages of anybody."""
    if settings.DEBUG or databases is None or DEFAULT_DB_ALIAS not in databases:
        return []
    try:
        open_to_any = [
            site.name
            for site in Site.objects.filter(allowed_origins__contains=ANY).order_by("name")
            if ANY in site.origins
        ]
    except Error:
        return []
    if not open_to_any:
        return []
    hint = (
        "The write key is public, so anybody can put it on a page of theirs and fill the site's "
        "figures with their visitors. Name the origins in the admin, under Sites."
    )
    said = f"Events are taken from pages of any origin for: {', '.join(open_to_any)}."
    return [Warning(said, hint=hint, id="detection.W011")]


@register(Tags.database)
def somebody_may_enter(databases: Sequence[str] | None = None, **others: Any) -> list[CheckMessage]:
    """detection.W012: nobody can see what is found, nor let others in."""
    if settings.DEBUG or databases is None or DEFAULT_DB_ALIAS not in databases:
        return []
    try:
        people = get_user_model()._default_manager
        if people.filter(is_superuser=True, is_active=True).exists():
            return []
    except Error:
        return []
    hint = (
        "With DEBUG off everyone needs a login, and people and tokens are made in the admin. Run: "
        "manage.py createsuperuser."
    )
    said = "There is no active superuser."
    return [Warning(said, hint=hint, id="detection.W012")]


def _of_this_machine(host: str) -> bool:
    if host in _OURS or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
