"""How types, actions and times are said to people."""

from datetime import datetime
from typing import Final

from detection.api import Severity, to_datetime

TYPES: Final = {
    "hesitation": "Hesitation",
    "navigation-loop": "Navigation loop",
    "abandonment": "Abandonment",
}
# The most urgent first, as a person looks for them.
SEVERITIES: Final = {
    severity.label: severity.label.capitalize() for severity in sorted(Severity, reverse=True)
}
ACTIONS: Final = {
    "click": "Click",
    "scroll": "Scroll",
    "idle": "Idle",
    "navigate": "Navigation",
    "abandon": "Abandon",
    "tab_hidden": "Tab hidden",
    "tab_visible": "Tab visible",
    "leave": "Leave",
    "confirm": "Confirmation",
    "purchase": "Purchase",
    "identify": "Identified",
}


def plain(name: str) -> str:
    """A name from code in plain words: `rage-click` is `Rage click`."""
    return name.replace("-", " ").replace("_", " ").capitalize()


def type_words(type: str) -> str:
    return TYPES.get(type) or plain(type)


def action_words(action: str) -> str:
    return ACTIONS.get(action) or plain(action)


def detail_words(key: str, value: str) -> tuple[str, str]:
    """A piece of metadata for reading: `duration_ms` of `45000` is a `duration` of `45 s`."""
    if key.endswith("_ms") and value.isascii() and value.isdigit():
        return plain(key.removesuffix("_ms")).lower(), f"{float(value) / 1000:,.1f} s".replace(
            ".0 ", " "
        )
    return key.replace("_", " "), value


def as_datetime(moment: object) -> datetime | None:
    """A datetime, or epoch ms, as a datetime; None for anything else."""
    if isinstance(moment, datetime):
        return moment
    if isinstance(moment, int):
        try:
            return to_datetime(moment)
        except OverflowError:
            return None
    return None
