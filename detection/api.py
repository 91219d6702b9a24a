"""The public face of detection: all that the dashboard, the store or another app may use.

It promises these names; the modules behind them may change.
"""

from detection.access import may_read, may_resolve, name_of, site_of
from detection.clock import now_ms, to_datetime, to_ms
from detection.engine.events import Event
from detection.engine.patterns import ChangeKind, Severity
from detection.engine.snapshots import ActiveVisitor, VisitorWindow
from detection.live import active_visitors, stats, visitor_window
from detection.models import DEFAULT_SITE_ID, Pattern, PatternChange, Site, normal
from detection.publisher import every_turn
from detection.queueing import EngineUnavailable
from detection.resolution import reopen, resolve
from detection.shapes import StatsOut
from detection.streams import Feed, has_listeners, open_stream, register, send_passing

__all__ = [
    "DEFAULT_SITE_ID",
    "ActiveVisitor",
    "ChangeKind",
    "EngineUnavailable",
    "Event",
    "Feed",
    "Pattern",
    "PatternChange",
    "Severity",
    "Site",
    "StatsOut",
    "VisitorWindow",
    "active_visitors",
    "default_site",
    "every_turn",
    "has_listeners",
    "may_read",
    "may_resolve",
    "name_of",
    "normal",
    "now_ms",
    "open_stream",
    "register",
    "reopen",
    "resolve",
    "send_passing",
    "site_of",
    "stats",
    "to_datetime",
    "to_ms",
    "visitor_window",
]


def default_site() -> Site:
    """The site that is there from the first migration on. Raises Site.DoesNotExist."""
    return Site.objects.get(pk=DEFAULT_SITE_ID)
