"""What changes by the second: figures and active sessions, rendered once for all dashboards."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from django.template.loader import render_to_string

from detection.api import (
    ActiveVisitor,
    EngineUnavailable,
    Site,
    StatsOut,
    active_visitors,
    has_listeners,
    now_ms,
    send_passing,
    stats,
)

METRICS_EVERY_S = 5.0
ACTIVE_WITHIN_MS = 60_000
# Sessions shown; the number of all of them stands above the list.
MOST_SESSIONS = 50


@dataclass(frozen=True, slots=True)
class Sessions:
    """The visitors heard from lately, the latest first. known: whether the engine told."""

    shown: list[ActiveVisitor]
    count: int
    known: bool = True

    @property
    def others(self) -> int:
        return self.count - len(self.shown)


@dataclass(frozen=True, slots=True)
class Metrics:
    """The figures of the bar. stats: None where the engine cannot be asked. as_of: epoch ms."""

    patterns: int
    stats: StatsOut | None
    as_of: int


def read_sessions(site: int) -> Sessions:
    try:
        visitors = active_visitors(site, ACTIVE_WITHIN_MS)
    except EngineUnavailable:
        return Sessions([], 0, known=False)
    return Sessions(visitors[:MOST_SESSIONS], len(visitors))


def read_metrics(site: Site) -> Metrics:
    try:
        told = stats(site.pk)
    except EngineUnavailable:
        return Metrics(site.patterns_detected, None, now_ms())
    return Metrics(told.patterns_detected, told, told.as_of)


class Ticker:
    """Called about once a second for each site, in the publisher's thread.

    Sessions are sent when they look different; with the figures, every 5 s, they are sent in
    any case: a dashboard that has just connected may have missed the last time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._metrics_due: dict[int, float] = {}
        self._sessions: dict[int, str] = {}

    def __call__(self, site: int) -> None:
        channel = f"live-{site}"
        if not has_listeners(channel):
            return
        full = self._clock() >= self._metrics_due.get(site, 0.0)
        try:
            told = stats(site) if full else None
            visitors = active_visitors(site, ACTIVE_WITHIN_MS)
        except EngineUnavailable:
            return
        if told is not None:
            self._metrics_due[site] = self._clock() + METRICS_EVERY_S - 0.5
            metrics = Metrics(told.patterns_detected, told, told.as_of)
            send_passing(channel, "metrics", render_metrics(metrics))
        sessions = render_sessions(Sessions(visitors[:MOST_SESSIONS], len(visitors)))
        if full or sessions != self._sessions.get(site):
            self._sessions[site] = sessions
            send_passing(channel, "sessions", sessions)


def render_metrics(metrics: Metrics) -> str:
    return render_to_string("dashboard/_metrics.html", {"metrics": metrics})


def render_sessions(sessions: Sessions) -> str:
    return render_to_string("dashboard/_sessions.html", {"sessions": sessions})
