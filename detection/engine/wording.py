"""Words that explanations are made of: neutral, readable, and only from numbers they are given."""

from collections.abc import Sequence
from typing import Final

from .standing import Subject

PAGE_LENGTH: Final = 120
PAGES_NAMED: Final = 4


def who(subject: Subject) -> str:
    """The id that the site knows them by, or "This visitor"."""
    return subject.identified or "This visitor"


def count(number: int, noun: str) -> str:
    """`1 visit`, `3 visits`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(ms: int) -> str:
    """A duration in its two largest units, rounded down: `1 minute 5 seconds`."""
    if ms < 1_000:
        return "less than a second"
    seconds = ms // 1_000
    hours, minutes, seconds = seconds // 3_600, seconds // 60 % 60, seconds % 60
    units = [(hours, "hour"), (minutes, "minute"), (seconds, "second")]
    while not units[0][0]:
        units.pop(0)
    return " ".join(count(number, unit) for number, unit in units[:2] if number)


def page_name(page: str) -> str:
    """A page as it is named in a sentence; a very long one is cut."""
    return page if len(page) <= PAGE_LENGTH else page[: PAGE_LENGTH - 1] + "…"


def page_list(pages: Sequence[str], total: int) -> str:
    """The first few of so many pages: `/a`, `/a and /b`, `/a, /b, /c, /d and 2 other pages`."""
    named = [page_name(page) for page in pages[:PAGES_NAMED]]
    others = total - len(named)
    if others:
        named.append(count(others, "other page"))
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
