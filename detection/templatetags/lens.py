"""`{% load lens %}{% lens_script %}`: the tracker's script tag for a Django template."""

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from detection.api import Site, default_site

register = template.Library()


@register.simple_tag
def lens_script(base: str = "", hash_routing: bool = False, site: str = "") -> SafeString:
    """The script tag of the tracker.

    base: a path prefix that pages are told without, such as /demo. hash_routing: the page's
    fragment is part of its path. site: a site's write key; without one, the default site's,
    which costs one query by primary key.
    """
    key = site or default_site_key()
    return format_html(
        '<script src="{}"{}{}{} defer></script>',
        reverse("lens_js"),
        format_html(' data-site="{}"', key) if key else "",
        format_html(' data-base="{}"', base) if base else "",
        mark_safe(" data-hash-routing") if hash_routing else "",
    )


def default_site_key() -> str:
    """The default site's write key; "" where the site was deleted, for no page breaks over that."""
    try:
        return default_site().key
    except Site.DoesNotExist:
        return ""
