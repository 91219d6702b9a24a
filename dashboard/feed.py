"""The feed: pages of it for a request, and rows of it for the stream.

Both render a pattern with the same template, which knows nothing of who is looking: no time
relative to now, no token, no language but one. So one rendering serves every dashboard.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.template.loader import render_to_string

from dashboard.filters import Filters
from detection.api import ChangeKind, Pattern, PatternChange, to_datetime, to_ms

PAGE_ROWS = 50
# Rows that a dashboard keeps as new ones arrive, and the most that one request asks for.
MOST_ROWS = 200

ALERTS = (ChangeKind.OPENED.value, ChangeKind.ESCALATED.value)


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Patterns, newest first, and whether older ones follow."""

    patterns: list[Pattern]
    more: bool

    @property
    def cursor(self) -> str:
        """Where the next page begins."""
        return cursor_of(self.patterns[-1]) if self.patterns else ""


def cursor_of(pattern: Pattern) -> str:
    """A place in the feed. It holds all that is needed to go on, should the pattern be erased."""
    return f"{to_ms(pattern.detected_at)}-{pattern.pattern_id}"


def parse_cursor(text: str) -> Pattern:
    """The place as a pattern that is nowhere stored. Raises ValueError."""
    at, _, pattern_id = text.partition("-")
    if not at.isascii() or not pattern_id or "\0" in pattern_id:
        raise ValueError("not a place in the feed")
    try:
        return Pattern(pattern_id=pattern_id, detected_at=to_datetime(int(at)))
    except OverflowError as error:
        raise ValueError("not a place in the feed") from error


def read_feed(
    site: int, filters: Filters, rows: int = PAGE_ROWS, after: Pattern | None = None
) -> FeedPage:
    """The patterns that pass the filters, newest first, from the top or after a place."""
    found = Pattern.objects.for_site(site).matching(
        severity=filters.severity, type=filters.type, q=filters.q
    )
    if after is not None:
        found = found.before(after)
    patterns = list(found.newest_first()[: rows + 1])
    return FeedPage(patterns[:rows], more=len(patterns) > rows)


def latest_alert(site: int) -> Pattern | None:
    """The pattern that last opened or got worse."""
    changes = PatternChange.objects.filter(site_id=site, kind__in=ALERTS)
    latest = changes.select_related("pattern").order_by("-sequence").first()
    return latest.pattern if latest else None


def render_row(pattern: Pattern) -> str:
    """A pattern as it stands in the feed."""
    return render_to_string("dashboard/_pattern.html", {"pattern": pattern})


def encode_rows(changes: Sequence[PatternChange]) -> str:
    """A run of changes of one site for its dashboards: each pattern once, as it stands now.

    Where the pattern that they pin to the top is among them, it comes along.
    """
    patterns = {change.pattern.pattern_id: change.pattern for change in changes}
    rows = [render_row(pattern) for pattern in patterns.values()]
    latest = latest_alert(changes[-1].site_id)
    if latest is not None and latest.pattern_id in patterns:
        rows.append(render_to_string("dashboard/_latest_update.html", {"latest": latest}))
    return "".join(rows)
