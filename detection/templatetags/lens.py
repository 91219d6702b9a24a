"""`{% load lens %}{% lens_script %}`: the tracker's script tag for a Django template."""

from django import template
from django.core.cache import cache
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from detection.api import default_site

register = template.Library()

CACHE_KEY = "detection.lens.default_site_key"
CACHE_S = 30


@register.simple_tag
def lens_script(base: str = "", hash_routing: bool = False, site: str = "") -> SafeString:
    """The script tag of the tracker.

    base: a path prefix that pages are told without, such as /demo. hash_routing: the page's
    fragment is part of its path. site: a site's write key; without one, the default site's.
    """
    return format_html(
        '<script src="{}" data-site="{}"{}{} defer></script>',
        reverse("lens_js"),
        site or default_site_key(),
        format_html(' data-base="{}"', base) if base else "",
        mark_safe(" data-hash-routing") if hash_routing else "",
    )


def default_site_key() -> str:
    """The default site's write key, looked up in the database twice a minute at most."""
    key: str | None = cache.get(CACHE_KEY)
    if key is None:
        key = default_site().key
        cache.set(CACHE_KEY, key, CACHE_S)
    return key
