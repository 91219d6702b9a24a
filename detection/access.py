"""Who may see and change what; every door of the shell asks here."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from detection.models import DEFAULT_SITE_ID, Site


def may_read(user: Any, site: int) -> bool:
    """Whether `user` may see the site's visitors and patterns: locally anyone, else staff."""
    return settings.DEBUG or bool(user and user.is_active and user.is_staff)


def may_resolve(user: Any, site: int) -> bool:
    """Whether `user` may resolve and reopen the site's patterns."""
    if settings.DEBUG:
        return True
    return may_read(user, site) and bool(user.has_perm("detection.change_pattern"))


def site_of(request: HttpRequest) -> Site:
    """The site a request is about: the default one."""
    return Site.objects.get(pk=DEFAULT_SITE_ID)


def name_of(user: Any) -> str:
    """How a person is named in a pattern's history; "" for someone who is not logged in."""
    return user.get_username() if user and user.is_authenticated else ""
