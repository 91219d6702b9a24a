"""What holds for every stream, however strange: the engine against random ones."""

from collections.abc import Iterable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detection.engine.config import EngineConfig
from detection.engine.engine import Engine
from detection.engine.events import ACTIONS, Event
from detection.engine.patterns import Change, ChangeKind, Severity

from .helpers import BASE, MINUTE
from .reference import Reference

Stream = list[tuple[Event, int]]

# A busy machine is no reason to fail.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

PAGES = ["/a", "/b", "/c", "/cart", "/checkout", "/payment", "/confirm"]
GAPS = [0, 0, 1, 100, 1_000, 1_000, 3_000, 10_000, 29_999, 30_000, 60_000, 120_000]
LONG_GAPS = [299_999, 300_000, 600_000, 1_800_000, 2_000_000]
LAGS = [0, 0, 0, 0, 1, 5_000, 400_000, -1_000]
DURATIONS = [None, "10000", "20000.0", "40000", "99999999", "-1", "soon"]
SMALL = EngineConfig(max_events=12)

moves = st.tuples(
    st.sampled_from(GAPS + LONG_GAPS[:1]) | st.sampled_from(GAPS) | st.sampled_from(LONG_GAPS),
    st.sampled_from(["v", "v", "w", "x"]),
    st.sampled_from([1, 1, 1, 2]),
    st.sampled_from([*sorted(ACTIONS), *["navigate"] * 6, "idle", "idle"]),
    st.sampled_from(PAGES),
    st.sampled_from(LAGS),
    st.sampled_from(["", "", "1", "2", "3"]),
    st.sampled_from(DURATIONS),
)


def as_stream(drawn: Iterable[tuple[int, str, int, str, str, int, str, str | None]]) -> Stream:
    stream: Stream = []
    now = BASE
    for gap, user, site, action, page, lag, view, duration in drawn:
        now += gap
        metadata = {"id": f"known {user}"} if action == "identify" else None
        if action == "idle" and duration is not None:
            metadata = {"duration_ms": duration}
        stream.append((Event(site, user, action, page, now - lag, view, metadata), now))
    return stream


streams = st.lists(moves, max_size=80).map(as_stream)

# A few visitors who move quickly between few pages: loops, and their ends.
walks = st.lists(
    st.tuples(
        st.sampled_from([*GAPS[:9], 25_000, 40_000, 70_000, 300_000]),
        st.sampled_from(["v", "v", "v", "w"]),
        st.just(1),
        st.sampled_from([*["navigate"] * 8, "click", "idle", "scroll"]),
        st.sampled_from(["/a", "/a", "/b", "/b", "/c", "/d"]),
        st.just(0),
        st.just(""),
        st.none(),
    ),
    max_size=60,
).map(as_stream)


def run(engine: Engine, stream: Stream) -> list[Change]:
    return [change for event, now in stream for change in engine.observe(event, now)]


def finish(engine: Engine) -> list[Change]:
    return engine.advance(engine.now + 120 * MINUTE)


@patient
@given(streams)
def test_no_window_holds_more_than_it_may(stream):
    engine = Engine(SMALL)
    for event, now in stream:
        engine.observe(event, now)
        window = engine.window(event.site, event.user_id)
        assert window is not None
        assert len(window.events) <= 12
        stamps = [held.timestamp for held in window.events]
        assert stamps == sorted(stamps)


@patient
@given(streams)
def test_every_pattern_is_a_state_machine(stream):
    """Opened once, then only more severe, then perhaps recovered; its key never changes."""
    engine = Engine()
    patterns: dict[str, Change] = {}
    for change in [*run(engine, stream), *finish(engine)]:
        pattern = change.pattern
        before = patterns.get(pattern.pattern_id)
        if change.kind is ChangeKind.OPENED:
            assert before is None
            assert change.at == pattern.detected_at
        else:
            assert before is not None
            assert before.kind is not ChangeKind.RECOVERED
            assert before.at <= change.at
            was = before.pattern
            assert (was.site, was.user_id, was.type) == (
                pattern.site,
                pattern.user_id,
                pattern.type,
            )
            assert (was.place, was.detected_at) == (pattern.place, pattern.detected_at)
        if change.kind is ChangeKind.ESCALATED:
            assert before is not None
            assert pattern.severity > before.pattern.severity
        if pattern.type == "abandonment":
            assert pattern.severity is Severity.HIGH
        patterns[pattern.pattern_id] = change


@patient
@given(streams | walks)
def test_the_cooldown_is_kept(stream):
    """A pattern opens only when the last of its key was emitted or escalated two minutes ago or
    more, or has been recovered.
    """
    engine = Engine()
    last: dict[tuple[int, str, str, str], int] = {}
    for change in [*run(engine, stream), *finish(engine)]:
        pattern = change.pattern
        key = (pattern.site, pattern.user_id, pattern.type, pattern.place)
        if change.kind is ChangeKind.RECOVERED:
            last.pop(key, None)
            continue
        if change.kind is ChangeKind.OPENED and key in last:
            assert change.at - last[key] >= 120_000
        last[key] = change.at


@patient
@given(streams, st.randoms(use_true_random=False))
def test_the_same_stream_gives_the_same_changes_whenever_time_is_let_pass(stream, random):
    plain, nudged = Engine(), Engine()
    expected = [*run(plain, stream), *finish(plain)]
    found: list[Change] = []
    before = BASE
    for event, now in stream:
        for between in sorted(random.randint(before, now) for _ in range(random.randint(0, 3))):
            found += nudged.advance(between)
            nudged.next_deadline()
        found += nudged.observe(event, now)
        before = now
    found += finish(nudged)
    assert found == expected
    assert [nudged.stats(site) for site in (1, 2)] == [plain.stats(site) for site in (1, 2)]


@patient
@given(streams)
def test_deadlines_fire_in_order_and_when_due(stream):
    """Whatever is due fires before the event, in order, as at its own time; none fires before
    `next_deadline`.
    """
    engine = Engine()
    for event, now in stream:
        nearest = engine.next_deadline()
        fired = engine.advance(now)
        assert not fired or (nearest is not None and nearest <= fired[0].at)
        order = [(change.at, change.pattern.site, change.pattern.user_id) for change in fired]
        assert order == sorted(order)
        assert all(change.at == change.pattern.detected_at <= now for change in fired)
        left = engine.next_deadline()
        assert left is None or left > now
        assert all(change.at == now for change in engine.observe(event, now))


@patient
@given(streams)
def test_the_rate_is_a_rate(stream):
    engine = Engine()
    for event, now in stream:
        engine.observe(event, now)
        for site in (1, 2):
            stats = engine.stats(site)
            assert 0 <= stats.abandoned <= stats.entered
            assert 0 <= stats.abandonment_rate <= 1
    counted = sum(engine.stats(site).total_events for site in (1, 2))
    assert counted == len(stream)


@patient
@given(streams)
def test_everything_is_forgotten_in_the_end(stream):
    engine = Engine()
    run(engine, stream)
    finish(engine)
    assert not engine._visitors.held
    assert len(engine._journeys.deadlines) == 0
    assert not engine._journeys.held


@settings(patient, max_examples=300)
@given(walks, st.sampled_from([EngineConfig(), EngineConfig(max_events=9)]))
def test_loops_and_windows_agree_with_the_reference(stream, config):
    engine, reference = Engine(config), Reference(config)
    for event, now in stream:
        found = [
            (change.at, change.kind.value, change.pattern.severity.label, change.pattern.place)
            for change in engine.observe(event, now)
            if change.pattern.type == "navigation-loop"
        ]
        assert found == reference.observe(event, now)
        window = engine.window(event.site, event.user_id)
        assert window is not None
        assert window.events == reference.window(event.site, event.user_id, now)
