"""Recovery: from the database alone, the engine is what it was, and nobody is told twice."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from detection import journal, recovery, replay, snapshots, store
from detection.batches import Batch, Seen
from detection.engine.config import EngineConfig, encode_config
from detection.engine.engine import Engine
from detection.engine.events import Event
from detection.engine.patterns import Change
from detection.engine.rules.abandonment import AbandonmentSettings
from detection.engine.rules.funnel import Funnel
from detection.journal import Journal, by_visitor
from detection.models import JournalEntry, Pattern, Site, Snapshot, SnapshotPart
from detection.outbox import News
from detection.recovery import Recovered, recover
from detection.snapshots import Beginning
from tests.test_journal import batch

T0 = 1_800_000_000_000
PAGES = ("/a", "/b", "/a", "/b", "/a", "/cart", "/checkout", "/a", "/b", "/cart", "/confirm")


class Life:
    """An engine that keeps a journal, as the pipeline does, and what it said."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.journal = Journal()
        self.seen = Seen()
        self.said: list[News] = []
        self.clock = T0

    def configure(self, config: EngineConfig) -> None:
        data = encode_config(config)
        self.journal.write_config(data, self.clock)
        self.said += replay.configure(self.engine, data, self.clock)

    def live(self, *batches: Batch) -> None:
        for one in batches:
            groups = by_visitor(one.events)
            self.journal.write([groups], [one])
            self.seen.add(one.key)
            for events in groups:
                self.said += replay.observe(self.engine, events, one.arrival)
            self.clock = one.arrival

    def rounds(self, first: int, count: int, step_ms: int = 7_000) -> None:
        """Two visitors go round the shop, one of them is idle at times."""
        for n in range(first, first + count):
            at = T0 + n * step_ms
            page = PAGES[n % len(PAGES)]
            events = [
                Event(1, "u1", "navigate", page, at),
                Event(1, "u2", "navigate", PAGES[(n * 3) % len(PAGES)], at),
                Event(1, "u1", "idle", page, at, metadata={"duration_ms": str(n % 5 * 10_000)}),
            ]
            if n % 9 == 4:
                events.append(Event(1, "u2", "identify", "/", at, metadata={"id": f"ann {n}"}))
            self.live(batch(events, at, f"b{n}"))

    def snapshot(self) -> None:
        capture = self.engine.capture()

        def pieces() -> Iterator[bytes]:
            while not capture.done:
                yield capture.take(1)

        beginning = Beginning(
            position=self.journal.position,
            clock=self.engine.now,
            stats=snapshots.stats_of(self.engine),
            keys=self.seen.keys(),
            changes=0,
        )
        snapshots.write(beginning, pieces())


@pytest.fixture
def life(site: Site) -> Life:
    return Life()


def recovered(config: EngineConfig | None = None) -> tuple[Recovered, list[News]]:
    told: list[News] = []
    return recover(config or EngineConfig(), told.extend), told


def patterns() -> list[Any]:
    return list(
        Pattern.objects.order_by("pattern_id").values_list(
            "pattern_id", "severity", "detected_at", "explanation", "evidence", "identified"
        )
    )


def same(one: Engine, other: Engine) -> None:
    """Whether two engines hold the same and will say the same."""
    assert one.now == other.now
    assert one.stats(1) == other.stats(1)
    assert one.gauges() == other.gauges()
    assert one.active_visitors(1, 300_000) == other.active_visitors(1, 300_000)
    for user_id in ("u1", "u2"):
        assert one.window(1, user_id) == other.window(1, user_id)
    later = one.now + 40_000
    more = [
        *[Event(1, "u1", "navigate", page, later) for page in PAGES],
        Event(1, "u2", "leave", "/checkout", later),
    ]
    for event in more:
        assert one.observe(event, later) == other.observe(event, later)
    assert one.advance(later + 3_600_000) == other.advance(later + 3_600_000)


def test_an_empty_database_gives_a_new_engine(site: Site) -> None:
    config = EngineConfig(max_events=33)
    found, told = recovered(config)
    assert (found.position, found.snapshot, told) == (0, 0, [])
    assert found.engine.config == config


def test_the_journal_alone_brings_everything_back(life: Life) -> None:
    life.rounds(0, 60)
    assert {change.pattern.type for change in life.said if isinstance(change, Change)} == {
        "hesitation",
        "navigation-loop",
        "abandonment",
    }
    found, told = recovered()
    assert told == life.said
    assert found.position == life.journal.position
    assert found.seen.keys() == life.seen.keys()
    same(found.engine, life.engine)


@pytest.mark.parametrize("rounds", [1, 13, 30, 59])
def test_a_snapshot_and_the_tail_are_the_same(life: Life, rounds: int) -> None:
    life.rounds(0, rounds)
    life.snapshot()
    before = len(life.said)
    life.rounds(rounds, 60 - rounds)
    found, told = recovered()
    assert found.snapshot == Snapshot.objects.get().position > 0
    assert told == life.said[before:], "only the tail is told again"
    assert found.seen.keys() == life.seen.keys()
    same(found.engine, life.engine)


def test_what_the_crash_kept_from_being_stored_is_stored_and_nothing_twice(life: Life) -> None:
    life.rounds(0, 30)
    life.snapshot()
    store.apply(life.said)
    life.rounds(30, 30)
    half = len(life.said) - 3
    store.apply(life.said[:half])  # and then the process was killed
    Pattern.objects.filter(severity=1).update(note="a person's")
    _, told = recovered()
    store.apply(told)
    after = patterns()
    changes = list(Site.objects.values_list("last_change", flat=True))
    for model in (Pattern,):
        model.objects.all().delete()
    store.apply(life.said)
    assert after == patterns()
    assert changes[0] * 2 == Site.objects.get().last_change, "as many steps as in one life"


def test_a_name_given_later_is_not_put_on_what_came_after_it(life: Life) -> None:
    """Playing a name again must not name what a visitor who has forgotten it did afterwards."""
    named = Event(1, "u1", "identify", "/", T0, metadata={"id": "ann"})
    life.live(batch([named], T0))
    later = T0 + 3_600_000  # forgotten, and new again
    loop = [Event(1, "u1", "navigate", page, later) for page in PAGES[:5]]
    life.live(batch(loop, later))
    store.apply(life.said)
    assert Pattern.objects.get().identified == ""
    _, told = recovered()
    store.apply(told)
    assert Pattern.objects.get().identified == ""


def test_what_was_due_meanwhile_falls_due_at_its_own_time(life: Life) -> None:
    steps = [Event(1, "u1", "navigate", page, T0) for page in ("/cart", "/checkout")]
    life.live(batch([*steps, Event(1, "u1", "leave", "/checkout", T0)], T0))
    found, told = recovered()
    assert told == []
    (change,) = found.engine.advance(T0 + 3_600_000)
    assert change.at == change.pattern.detected_at == T0 + 30_000


def test_time_does_not_go_back_behind_what_was_detected(life: Life) -> None:
    """The machine's clock was set back while the server was down."""
    steps = [Event(1, "u1", "navigate", page, T0) for page in ("/cart", "/checkout")]
    life.live(batch([*steps, Event(1, "u1", "leave", "/checkout", T0)], T0))
    store.apply(life.engine.advance(T0 + 60_000))
    assert Pattern.objects.count() == 1
    assert recovered()[0].clock == T0 + 30_000


def test_configurations_come_back_with_the_events_around_them(life: Life) -> None:
    life.rounds(0, 20)
    life.configure(EngineConfig(cooldown_ms=10_000))
    life.rounds(20, 20)
    life.configure(EngineConfig(window_ms=60_000, cooldown_ms=60_000))
    life.rounds(40, 20)
    found, told = recovered()
    assert found.engine.config == EngineConfig(window_ms=60_000, cooldown_ms=60_000)
    assert told == life.said
    same(found.engine, life.engine)


# --- snapshots that cannot be used -----------------------------------------------------------


def break_version() -> None:
    Snapshot.objects.update(version=99)


def break_digest() -> None:
    Snapshot.objects.update(digest="0" * 64)


def lose_a_part() -> None:
    SnapshotPart.objects.all().delete()


def garble() -> None:
    for part in SnapshotPart.objects.all():
        body = bytearray(part.body)
        body[len(body) // 2] ^= 0xFF
        part.body = bytes(body)
        part.save()


@pytest.mark.parametrize("damage", [break_version, break_digest, lose_a_part, garble])
def test_a_snapshot_that_cannot_be_used_is_said_so_and_the_journal_is_read(
    life: Life, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    life.rounds(0, 40)
    life.snapshot()
    before = len(life.said)
    life.rounds(40, 20)
    damage()
    with caplog.at_level(logging.INFO, "detection.recovery"):
        found, told = recovered()
    assert "cannot be used" in caplog.text
    assert told == life.said[before:], "what it covered is stored already"
    assert found.snapshot == Snapshot.objects.get().position
    same(found.engine, life.engine)


def test_the_one_before_it_is_used(life: Life) -> None:
    life.rounds(0, 20)
    life.snapshot()
    before = len(life.said)
    life.rounds(20, 20)
    life.snapshot()
    life.rounds(40, 20)
    Snapshot.objects.filter(pk=Snapshot.objects.latest("pk").pk).update(version=99)
    found, told = recovered()
    assert found.snapshot == Snapshot.objects.earliest("pk").position
    assert told == life.said[before:]
    same(found.engine, life.engine)


def test_one_that_was_not_finished_does_not_count(life: Life) -> None:
    life.rounds(0, 20)
    writing = snapshots.Writing(Beginning(life.journal.position, 0, {}, [], 0))
    writing.add(b"a piece")
    found, told = recovered()
    assert found.snapshot == 0
    assert told == life.said
    writing.drop()
    assert not Snapshot.objects.exists()


def test_counts_go_back_further_than_the_journal(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal is pruned, and the only snapshot is of another version."""
    life.rounds(0, 400)
    life.snapshot()
    life.rounds(400, 10)
    JournalEntry.objects.filter(position__lte=100).delete()
    break_version()
    monkeypatch.setattr(recovery, "LOOK_BACK_MS", 1_000_000)
    found, _ = recovered()
    ours, theirs = found.engine.stats(1), life.engine.stats(1)
    assert ours.total_events == theirs.total_events
    assert (ours.entered, ours.abandoned) == (theirs.entered, theirs.abandoned)


def test_large_snapshots_are_kept_in_parts(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "PART_BYTES", 100)
    life.rounds(0, 30)
    life.snapshot()
    assert Snapshot.objects.get().parts == SnapshotPart.objects.count() > 2
    found, _ = recovered()
    assert found.snapshot == journal.head()
    same(found.engine, life.engine)


def test_what_cannot_be_read_in_the_journal_is_not_stepped_over(life: Life) -> None:
    life.rounds(0, 2)
    JournalEntry.objects.filter(position=1).update(body=b"\xc1")
    with pytest.raises(journal.Unreadable):
        recovered()


def test_without_a_snapshot_the_past_is_judged_by_its_own_settings(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade, with another setting at the same time: nothing is detected that never was."""
    monkeypatch.setattr(recovery, "LOOK_BACK_MS", 5_000)
    life.configure(grace(30_000))
    life.rounds(0, 3)
    life.snapshot()
    break_version()
    said = len(life.said)
    for action, page, after in (
        ("navigate", "/cart", 0),
        ("navigate", "/checkout", 1_000),
        ("leave", "/checkout", 1_000),
        ("navigate", "/checkout", 10_000),
        ("navigate", "/", 1_000),
    ):
        at = life.clock + after
        life.live(batch([Event(1, "v", action, page, at)], at))
    found, told = recovered(grace(5_000))
    assert len(told) == 1, "the page that was left was come back to in time"
    assert told == life.said[said:]
    assert found.engine.config == grace(30_000)


def grace(ms: int) -> EngineConfig:
    return EngineConfig(abandonment=AbandonmentSettings(funnels=(Funnel(leave_grace_ms=ms),)))
