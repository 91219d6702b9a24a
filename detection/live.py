"""Live state for other threads: copies that the pipeline makes of what the engine holds."""

import time

from django.apps import apps

from detection import clock, streams
from detection.engine.snapshots import ActiveVisitor, VisitorWindow
from detection.models import Site
from detection.queueing import EngineUnavailable
from detection.runtime import Runtime
from detection.shapes import StatsOut

STATS_EVERY_S = 5.0
_last_stats: dict[int, float] = {}


def runtime() -> Runtime:
    """This process's runtime, started or not."""
    return apps.get_app_config("detection").runtime  # type: ignore[attr-defined]


def stats(site: int) -> StatsOut:
    """The counters of a site. Raises EngineUnavailable."""
    told = runtime().pipeline.ask(lambda engine: engine.stats(site))
    detected = Site.objects.values_list("patterns_detected", flat=True).get(pk=site)
    return StatsOut(
        total_events=told.total_events,
        active_users=told.active_users,
        patterns_detected=detected,
        abandonment_rate=told.abandonment_rate,
        as_of=clock.now_ms(),
    )


def active_visitors(site: int, within_ms: int) -> list[ActiveVisitor]:
    """Visitors heard within `within_ms`, the latest first. Raises EngineUnavailable."""
    return runtime().pipeline.ask(lambda engine: engine.active_visitors(site, within_ms))


def visitor_window(site: int, user_id: str) -> VisitorWindow | None:
    """What is known of a visitor now; None where the window is empty. Raises EngineUnavailable."""
    return runtime().pipeline.ask(lambda engine: engine.window(site, user_id))


def send_stats(site: int) -> None:
    """Tell /api/stream the counters, every 5 s, if anyone listens."""
    channel = f"stats-{site}"
    due = _last_stats.get(site, 0.0) + STATS_EVERY_S
    if time.monotonic() < due - 0.5 or not streams.has_listeners(channel):
        return
    _last_stats[site] = time.monotonic()
    try:
        data = stats(site).model_dump_json()
    except EngineUnavailable:
        return
    streams.send_passing(channel, "stats", data)
