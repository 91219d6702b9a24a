"""A restored engine goes on as the one that was captured, whatever both have heard and hear."""

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from detection.engine.config import EngineConfig
from detection.engine.engine import Engine
from detection.engine.patterns import Change
from detection.engine.rules.abandonment import AbandonmentSettings
from detection.engine.rules.funnel import Funnel
from detection.engine.rules.navigation_loop import LoopSettings

from .helpers import MINUTE
from .saves import attempts, saved, visitors
from .test_properties import Stream, streams, walks

patient = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])

BROWSING = Funnel("browsing", ("/a", "/b"), completion_pages=("/c",), leave_grace_ms=1_000)
CONFIGS = [
    EngineConfig(),
    EngineConfig(max_events=3, max_visitors=2),
    EngineConfig(max_events=5, max_visitors=1, max_standing=1),
    EngineConfig(max_events=40, max_standing=2, cooldown_ms=1_000),
    EngineConfig(window_ms=10_000, cooldown_ms=10_000, max_visitors=3),
    EngineConfig(abandonment=AbandonmentSettings((BROWSING, Funnel()))),
    EngineConfig(abandonment=AbandonmentSettings((Funnel(leave_grace_ms=1), BROWSING))),
    EngineConfig(abandonment=AbandonmentSettings((Funnel(steps=("/payment", "/cart")),))),
    EngineConfig(abandonment=AbandonmentSettings((Funnel(recovery_ms=1),)), max_visitors=2),
    EngineConfig(abandonment=AbandonmentSettings(()), loop=LoopSettings(min_visits=2)),
]
configs = st.sampled_from(CONFIGS)


def assert_same(one: Engine, other: Engine) -> None:
    """Everything that can be asked, and what is counted."""
    assert one.now == other.now
    assert one.config == other.config
    assert one.gauges() == other.gauges()
    assert one.next_deadline() == other.next_deadline()
    for site in (1, 2):
        assert one.stats(site) == other.stats(site)
        assert one.active_visitors(site, 10**9) == other.active_visitors(site, 10**9)
        for user in ("v", "w", "x"):
            assert one.window(site, user) == other.window(site, user)
            assert one.identified(site, user) == other.identified(site, user)
    assert visitors(one) == visitors(other)
    assert attempts(one) == attempts(other)


def play_on(engine: Engine, stream: Stream, changed: EngineConfig | None) -> list[Change]:
    """The rest of a stream, half-way a change of configuration, and all that is due in the end."""
    changes: list[Change] = []
    for index, (heard, now) in enumerate(stream):
        if changed is not None and index == len(stream) // 2:
            changes += engine.advance(now)
            engine.configure(changed)
        changes += engine.observe(heard, now)
    return changes


@patient
@given(streams | walks, configs, configs | st.none(), st.integers(0, 80), st.data())
def test_restored_is_the_same(stream, config, changed, moment, data):
    """The capture is taken in slices while the first engine plays on."""
    engine = Engine(config)
    begun = min(moment, len(stream))
    for heard, now in stream[:begun]:
        engine.observe(heard, now)
    capture = engine.capture()
    pieces: list[bytes] = []
    gauges = engine.gauges()
    changes: list[Change] = []
    for index, (heard, now) in enumerate(stream[begun:]):
        for _ in range(data.draw(st.integers(0, 2), label="takes")):
            if not capture.done:
                pieces.append(capture.take(data.draw(st.integers(1, 3), label="visitors")))
        if changed is not None and index == len(stream[begun:]) // 2:
            changes += engine.advance(now)
            engine.configure(changed)
        changes += engine.observe(heard, now)
    while not capture.done:
        pieces.append(capture.take(2))
    twin = Engine.restored(pieces)
    assert twin.gauges() == gauges
    event(f"{len(pieces)} pieces")
    assert play_on(twin, stream[begun:], changed) == changes
    assert_same(engine, twin)
    assert twin.advance(twin.now + 120 * MINUTE) == engine.advance(engine.now + 120 * MINUTE)
    assert_same(engine, twin)


@patient
@given(streams | walks, configs, st.randoms(use_true_random=False))
def test_any_number_of_restarts_changes_nothing(stream, config, random):
    engine, restarted = Engine(config), Engine(config)
    for heard, now in stream:
        if random.random() < 0.3:
            restarted = saved(restarted)
        assert restarted.observe(heard, now) == engine.observe(heard, now)
    assert_same(engine, saved(restarted))
