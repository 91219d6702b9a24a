"""GET /metrics: what Prometheus scrapes, read from the running parts when it asks.

Counters count from the start of this process, but for `events_late`, which the engine keeps across
restarts. All but the engine's own values is read from memory, without waiting; the engine is asked
once, and where it does not answer the rest is told all the same. Labels are bounded by the code
(reasons, states, types) or by people (sites): nothing that a visitor sends becomes one.
"""

import functools
import hmac
import platform
import tomllib
from collections.abc import Callable, Iterator
from typing import Final

import django
from django.conf import settings
from django.db import connection
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from detection import access, live, streams
from detection.batches import Refusal
from detection.engine.config import EngineConfig
from detection.engine.engine import Engine
from detection.engine.snapshots import Gauges
from detection.models import DEFAULT_SITE_ID
from detection.pipeline import State
from detection.queueing import EngineUnavailable
from detection.runtime import Runtime

PREFIX: Final = "behaviourlens_"
# How long a scrape waits for the engine, s: well within what Prometheus gives a scrape.
ASK_S: Final = 1.0

Row = tuple[str, str, Callable[[Runtime], float | None]]

# Name, what it says, where it is read. A value of None is not known yet, and not told.
GAUGES: Final[tuple[Row, ...]] = (
    ("queue_events", "Events that wait for the engine.", lambda r: r.pipeline.queued_events),
    ("queue_bytes", "Bytes of the bodies that wait.", lambda r: r.pipeline.queued_bytes),
    ("queue_capacity_events", "Events that may wait.", lambda r: r.pipeline.capacity),
    (
        "pipeline_lag_seconds",
        "How long the oldest batch that waits has waited; 0 while none does.",
        lambda r: r.pipeline.lag_ms / 1000,
    ),
    ("outbox_changes", "Changes of patterns that wait to be stored.", lambda r: len(r.outbox)),
    ("outbox_capacity_changes", "Changes that may wait.", lambda r: r.outbox.capacity),
    ("journal_bytes", "Bytes of the journal, once counted.", lambda r: r.upkeep.journal_bytes),
    ("streams_open", "Streams that are open.", lambda _: streams.open_streams()),
    ("streams_capacity", "Streams that may be open.", lambda _: settings.BL_MAX_STREAMS),
    (
        "database_trouble",
        "1 while the database refuses to write, else 0.",
        lambda r: bool(r.trouble.reason),
    ),
)
COUNTERS: Final[tuple[Row, ...]] = (
    ("events_accepted", "Events answered 202 that count.", lambda r: r.counters.accepted),
    (
        "events_duplicate",
        "Events of batches that had been kept before, answered 202 and not counted again.",
        lambda r: r.pipeline.counts.duplicates,
    ),
    (
        "events_corrected",
        "Events that count, at another time than they claimed.",
        lambda r: r.counters.corrected,
    ),
    ("events_bots", "Events of bots, answered 202 and not counted.", lambda r: r.counters.bots),
    (
        "journal_events",
        "Events that the engine was shown, written to the journal before where there is one.",
        lambda r: r.pipeline.counts.journalled_events,
    ),
    ("journal_batches", "The same, in batches.", lambda r: r.pipeline.counts.journalled_batches),
    (
        "journal_refused_batches",
        "Batches refused after waiting, because the database did not take them.",
        lambda r: r.pipeline.counts.failures,
    ),
    ("snapshots", "Snapshots of the engine that were written.", lambda r: r.upkeep.written),
)


class RuntimeCollector(Collector):
    """Reads a Runtime whenever it is asked to collect."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def collect(self) -> Iterator[Metric]:
        runtime = self._runtime
        for name, told, read in GAUGES:
            if (value := read(runtime)) is not None:
                yield GaugeMetricFamily(PREFIX + name, told, value=value)
        for name, told, read in COUNTERS:
            if (value := read(runtime)) is not None:
                yield CounterMetricFamily(PREFIX + name, told, value=value)
        yield from _refused(runtime)
        yield _patterns("opened", "Patterns that were detected.", runtime.publisher.opened)
        yield _patterns("escalated", "Patterns that got worse.", runtime.publisher.escalated)
        yield _state(runtime)
        yield from _engine(runtime)
        yield InfoMetricFamily(PREFIX + "build", "What is running.", value=build())


def scrape_token() -> str:
    """What Prometheus may show instead of a login. It holds for as long as SECRET_KEY stays, and is
    compared without the database, so that metrics are told while that is away.
    """
    return salted_hmac("detection.metrics", "scrape", algorithm="sha256").hexdigest()


def may_scrape(request: HttpRequest) -> bool:
    """Whether the request shows the token, or comes from someone who may see the site."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    shown = token.strip().encode("utf-8", "replace")
    if scheme.lower() == "bearer" and hmac.compare_digest(shown, scrape_token().encode()):
        return True
    return access.may_read(request.user, DEFAULT_SITE_ID)


def exposition(accept: str) -> tuple[bytes, str]:
    """The metrics, and their content type, in the best form that `accept` (the header) allows."""
    encode, content_type = choose_encoder(accept)
    return encode(_registry()), content_type


@functools.cache
def build() -> dict[str, str]:
    """The versions of what runs, and which database it runs on."""
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())["project"]
    return {
        "version": project["version"],
        "python": platform.python_version(),
        "django": django.get_version(),
        "database": connection.vendor,
    }


@functools.cache
def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(RuntimeCollector(live.runtime()))
    ProcessCollector(registry=registry)
    return registry


def _refused(runtime: Runtime) -> Iterator[Metric]:
    """What was turned away at the door: single events of a request, and whole requests."""
    events = CounterMetricFamily(
        PREFIX + "events_rejected",
        "Events left out of a request that was taken otherwise, by reason.",
        labels=["reason"],
    )
    events.add_metric(["invalid"], runtime.counters.rejected)
    yield events
    requests = CounterMetricFamily(
        PREFIX + "requests_refused",
        "Requests with events that were answered an error, by its code.",
        labels=["reason"],
    )
    # Those that alerts are made of are there from the start, so that the first one counts.
    counts = dict.fromkeys(Refusal, 0) | dict(runtime.counters.refusals)
    for reason, count in sorted(counts.items()):
        requests.add_metric([reason], count)
    yield requests


def _patterns(what: str, told: str, counts: dict[tuple[str, str], int]) -> Metric:
    family = CounterMetricFamily(
        f"{PREFIX}patterns_{what}", f"{told} By type and severity.", labels=["type", "severity"]
    )
    for labels, count in sorted(dict(counts).items()):
        family.add_metric(labels, count)
    return family


def _state(runtime: Runtime) -> Metric:
    """One sample a state; the one that is has 1."""
    now = runtime.status().state
    family = GaugeMetricFamily(PREFIX + "state", "What the engine is about.", labels=["state"])
    for state in State:
        family.add_metric([state.value], state is now)
    return family


def _engine(runtime: Runtime) -> Iterator[Metric]:
    """What the engine holds; only `engine_answering` where it does not answer."""
    answering = GaugeMetricFamily(
        PREFIX + "engine_answering", "1 where the engine answered this scrape, else 0."
    )
    try:
        held, most, late = runtime.pipeline.ask(_held, timeout=ASK_S)
    except EngineUnavailable:
        answering.add_metric([], 0)
        yield answering
        return
    answering.add_metric([], 1)
    yield answering
    for name, told, value in (
        ("visitors", "Visitors that are held.", held.visitors),
        ("visitors_capacity", "Visitors that may be held.", most.max_visitors),
        ("window_bytes", "Bytes that windows hold, about.", held.bytes),
        ("window_capacity_bytes", "Bytes that windows may hold.", most.max_bytes),
        ("attempts", "Funnel attempts that are held.", held.attempts),
        ("attempt_bytes", "Bytes that attempts hold, about.", held.attempt_bytes),
        ("deadlines", "Deadlines to come.", held.deadlines),
    ):
        yield GaugeMetricFamily(PREFIX + name, told, value=value)
    for name, told, value in (
        ("evicted_visitors", "Visitors forgotten before their time.", held.evicted_visitors),
        ("evicted_attempts", "Attempts forgotten before their time.", held.evicted_attempts),
    ):
        yield CounterMetricFamily(PREFIX + name, told, value=value)
    family = CounterMetricFamily(
        PREFIX + "events_late",
        "Events older than their visitor's last, taken as happening with it. By the site's id.",
        labels=["site"],
    )
    for site, count in sorted(late.items()):
        family.add_metric([str(site)], count)
    yield family


def _held(engine: Engine) -> tuple[Gauges, EngineConfig, dict[int, int]]:
    """Asked in the pipeline's thread, so it is brief: nothing here looks at each visitor."""
    late = {site: counts["late"] for site, counts in engine.tallies().items()}
    return engine.gauges(), engine.config, late
