"""Filters that turn facts about friction into words and marks."""

from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from dashboard import words
from detection.api import Pattern, to_ms

register = template.Library()

# Steps of evidence shown with a row; the admin has them all.
MOST_STEPS = 12
SHORT_ID = 12

register.filter("type_words", words.type_words)
register.filter("action_words", words.action_words)
register.filter("ms", to_ms)


@register.filter
def moment(when: object) -> SafeString | str:
    """A `<time>`: exact and the same for everyone; a script says it in the viewer's own terms."""
    return _time(when, "%-d %b %Y, %H:%M UTC", "moment")


@register.filter
def clock(when: object) -> SafeString | str:
    """A `<time>` to the second, for events that follow each other closely."""
    return _time(when, "%H:%M:%S UTC", "clock")


def _time(when: object, style: str, kind: str) -> SafeString | str:
    at = words.as_datetime(when)
    if at is None:
        return ""
    iso = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return format_html(
        '<time datetime="{}" data-time="{}">{}</time>', iso, kind, at.strftime(style)
    )


@register.filter
def grouped(number: int) -> str:
    """`12,345`"""
    return f"{number:,}"


@register.filter
def percent(share: float) -> str:
    """A share of 0-1 as `12.5%`, without a decimal that says nothing."""
    return f"{share * 100:.1f}".removesuffix(".0") + "%"


@register.filter
def short_id(user_id: str) -> str:
    """The beginning of a long id, enough to tell visitors apart at a glance."""
    return user_id if len(user_id) <= SHORT_ID + 4 else user_id[:SHORT_ID] + "…"


@register.filter
def steps(pattern: Pattern) -> list[dict[str, Any]]:
    """The events of a pattern's evidence, oldest first."""
    evidence = pattern.evidence if isinstance(pattern.evidence, dict) else {}
    events = evidence.get("events")
    return [e for e in events if isinstance(e, dict)] if isinstance(events, list) else []


@register.filter
def shown(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last few of the steps: those that led to the pattern."""
    return steps[-MOST_STEPS:]


@register.filter
def left_out(steps: list[dict[str, Any]]) -> int:
    return max(0, len(steps) - MOST_STEPS)


@register.filter
def details(event: Any) -> list[tuple[str, str]]:
    """An event's metadata as pairs. It may be an engine's event or one in the wire's shape.

    Not `metadata.items` in a template: a visitor's key may be called `items`.
    """
    metadata = event.get("metadata") if isinstance(event, dict) else event.metadata
    if not isinstance(metadata, dict):
        return []
    return [words.detail_words(str(key), str(value)) for key, value in metadata.items()]
