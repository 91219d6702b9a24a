"""The pipeline with its journal: 202 means kept, a refusal means that the engine never saw it."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from django.db import DataError, OperationalError, connection

from detection import journal, keeping
from detection.batches import Batch, Refusal, Refused
from detection.clock import now_ms
from detection.engine.config import EngineConfig
from detection.engine.engine import Engine
from detection.engine.events import Event
from detection.engine.snapshots import Gauges
from detection.keeping import Durable, Groups
from detection.lease import make_lease
from detection.models import JournalEntry, Owner, Pattern, Site, Snapshot
from detection.outbox import Outbox
from detection.pipeline import Pipeline, State
from detection.publisher import Publisher
from detection.sites import SiteDirectory
from detection.trouble import DatabaseTrouble
from detection.upkeep import Upkeep

WAIT_S = 15.0
LOOP = ("/a", "/b", "/a", "/b", "/a")


def until(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not found():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.01)


class Failing(Durable):
    """The real thing, with a database that refuses when told: before, or after the commit."""

    before: Exception | None = None
    after: Exception | None = None
    poison = ""

    def keep(self, batches: Sequence[Batch], groups: Groups) -> None:
        if self.poison in {event.user_id for batch in batches for event in batch.events}:
            raise DataError("a value that no row can hold")
        if self.before is not None:
            raise self.before
        if self.after is None:
            super().keep(batches, groups)
            return
        position = self._journal.position
        super().keep(batches, groups)
        self._journal.position = position  # as if the commit's answer had been lost
        self._unsure = sum(map(len, groups))
        raise self.after

    def mend(self) -> bool:
        if self.before is not None:
            raise self.before
        return super().mend()


class Running:
    """Everything that runs in a server but its port."""

    def __init__(self, config: EngineConfig | None = None, capacity: int = 1_000) -> None:
        self.trouble = DatabaseTrouble()
        self.outbox = Outbox()
        self.upkeep = Upkeep(self.outbox, self.trouble, lambda: True)
        self.keeping = Failing(config or EngineConfig(), make_lease(), self.outbox, self.upkeep)
        self.pipeline = Pipeline(self.keeping, self.outbox, capacity, self.trouble)
        self.publisher = Publisher(self.outbox, SiteDirectory(), self.trouble)

    def start(self) -> "Running":
        self.publisher.start()
        self.pipeline.start()
        self.upkeep.start()
        assert self.pipeline.settled.wait(WAIT_S)
        until(lambda: self.pipeline.state is State.RUNNING)
        return self

    def stop(self, all_stored: bool = True) -> None:
        self.pipeline.drain()
        self.upkeep.stop()
        self.publisher.stop()
        self.pipeline.end(all_stored)

    def send(self, *batches: tuple[str, list[Event]]) -> list[str]:
        """Offer each as (id, events); how each was answered."""

        async def answer(made: Batch) -> str:
            refusal = self.pipeline.offer(made)
            if refusal is not None:
                return refusal
            try:
                await asyncio.wait_for(made.done(), WAIT_S)
            except Refused as refused:
                return refused.reason
            return "duplicate" if made.duplicate else "kept"

        async def sending() -> list[str]:
            made = [Batch(1, now_ms(), events, name) for name, events in batches]
            return await asyncio.gather(*map(answer, made))

        return asyncio.run(sending())

    def total(self) -> int:
        return self.pipeline.ask(lambda engine: engine.stats(1).total_events)

    def gauges(self) -> Gauges:
        return self.pipeline.ask(lambda engine: engine.gauges())


def journey(user_id: str = "u1", pages: Sequence[str] = LOOP) -> list[Event]:
    at = now_ms()
    return [Event(1, user_id, "navigate", page, at) for page in pages]


def journalled() -> int:
    return sum(JournalEntry.objects.values_list("count", flat=True))


@pytest.fixture
def running(site: Site) -> Iterator[Running]:
    made = Running().start()
    yield made
    made.keeping.before = None
    made.stop()


def test_kept_means_that_it_is_in_the_database(running: Running) -> None:
    assert running.send(("b1", journey()), ("", journey("u2"))) == ["kept", "kept"]
    assert journalled() == running.total() == 10
    assert running.pipeline.position == journal.head()
    until(lambda: Pattern.objects.count() == 2)


def test_the_first_entry_is_the_configuration(running: Running) -> None:
    assert JournalEntry.objects.get(position=1).kind == JournalEntry.Kind.CONFIG


def test_what_cannot_be_kept_is_refused_and_not_seen(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "detection"):
        running.keeping.before = OperationalError("database or disk is full")
        assert running.send(("b1", journey())) == [Refusal.DATABASE]
        assert running.send(("b1", journey()), ("b2", journey("u2"))) == [Refusal.DATABASE] * 2
        assert running.total() == journalled() == 0
        assert running.trouble.reason == "database or disk is full"
        running.keeping.before = None
        until(lambda: not running.trouble.reason)
    assert running.send(("b1", journey())) == ["kept"]
    assert running.total() == journalled() == 5
    said = [record.levelname for record in caplog.records if record.name == "detection.trouble"]
    assert said == ["ERROR", "INFO"], "said once each"


def test_time_stands_still_while_nothing_can_be_kept(running: Running) -> None:
    before = running.pipeline.ask(lambda engine: engine.now)
    running.keeping.before = OperationalError("locked")
    running.send(("b1", journey()))
    held = running.pipeline.ask(lambda engine: engine.now)
    time.sleep(0.6)  # time itself is what this is about
    assert running.pipeline.ask(lambda engine: engine.now) == held >= before
    running.keeping.before = None
    until(lambda: running.pipeline.ask(lambda engine: engine.now) > held + 500)


def test_a_commit_whose_answer_was_lost_is_found_and_not_doubled(running: Running) -> None:
    running.keeping.after = OperationalError("server closed the connection unexpectedly")
    assert running.send(("b1", journey())) == [Refusal.DATABASE]
    running.keeping.after = None
    until(lambda: not running.trouble.reason)
    assert running.total() == journalled() == 5, "it had been kept, so the engine has seen it"
    assert running.send(("b1", journey())) == ["duplicate"]
    assert running.total() == journalled() == 5
    assert running.send(("b2", journey("u2"))) == ["kept"]
    assert running.pipeline.position == journal.head()


def test_one_that_can_never_be_kept_harms_no_other(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    running.keeping.poison = "poison"
    answers = running.send(
        *[(f"b{n}", journey(f"u{n}")) for n in range(5)], ("p", journey("poison"))
    )
    assert answers == ["kept"] * 5 + [Refusal.DATABASE]
    assert running.total() == journalled() == 25
    assert not running.trouble.reason
    assert "cannot be kept" in caplog.text


def test_sent_again_within_the_same_turn_it_counts_once(running: Running) -> None:
    within, held = threading.Event(), threading.Event()

    def hold(_: Engine) -> None:
        within.set()
        held.wait(WAIT_S)

    asker = threading.Thread(target=lambda: running.pipeline.ask(hold, WAIT_S))
    asker.start()
    assert within.wait(WAIT_S)
    answers: list[str] = []
    sender = threading.Thread(
        target=lambda: answers.extend(running.send(("b1", journey()), ("b1", journey())))
    )
    sender.start()
    until(lambda: running.pipeline.queued_events == 10)
    held.set()
    sender.join(WAIT_S)
    asker.join(WAIT_S)
    assert answers == ["kept", "duplicate"]
    assert running.total() == journalled() == 5
    assert running.pipeline.counts.duplicates == 5


def test_a_batch_is_known_after_a_restart_with_and_without_a_snapshot(site: Site) -> None:
    for all_stored in (True, False):
        first = Running().start()
        assert first.send((f"b {all_stored}", journey())) == ["kept"]
        first.stop(all_stored)
        assert Snapshot.objects.count() == 1, "one, of the first end"
        second = Running().start()
        before = second.total()
        assert second.send((f"b {all_stored}", journey())) == ["duplicate"]
        assert second.total() == before
        second.stop(all_stored=False)


def test_counts_and_windows_survive_a_clean_end(site: Site) -> None:
    first = Running().start()
    first.send(("b1", journey()), ("b2", journey("u2", ["/cart", "/checkout"])))
    gauges = first.gauges()
    window = first.pipeline.ask(lambda engine: engine.window(1, "u1"))
    first.stop()
    assert Snapshot.objects.get().position == journal.head()
    second = Running().start()
    assert second.total() == 7
    assert second.gauges() == gauges
    assert second.pipeline.ask(lambda engine: engine.window(1, "u1")) == window
    second.stop()
    assert Snapshot.objects.count() == 1, "nothing had come, so nothing was written"


def test_another_configuration_is_journalled_at_the_start(site: Site) -> None:
    Running().start().stop()
    config = EngineConfig(max_events=7)
    for _ in range(2):
        second = Running(config).start()
        assert second.pipeline.ask(lambda engine: engine.config) == config
        second.stop()
    kinds = JournalEntry.objects.values_list("kind", flat=True)
    assert list(kinds) == [JournalEntry.Kind.CONFIG] * 2, "once for each that is another"


def test_a_configuration_that_has_been_pruned_is_journalled_again(site: Site) -> None:
    first = Running().start()
    first.send(("b1", journey()))
    first.stop()
    JournalEntry.objects.filter(kind=JournalEntry.Kind.CONFIG).delete()
    Running().start().stop()
    assert JournalEntry.objects.filter(kind=JournalEntry.Kind.CONFIG).count() == 1


def test_a_snapshot_is_taken_while_events_go_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "SNAPSHOT_EVENTS", 500)
    monkeypatch.setattr(keeping, "SNAPSHOT_PAUSE_S", 0.0)
    monkeypatch.setattr(keeping, "SNAPSHOT_VISITORS", 3)
    running = Running(capacity=100_000).start()
    for n in range(100):
        running.send(*[(f"b{n}.{m}", journey(f"u{m}")) for m in range(10)])
    until(lambda: running.upkeep.written >= 2)
    gauges = running.gauges()
    total = running.total()
    running.pipeline.drain()
    running.upkeep.stop()
    running.publisher.stop()
    running.pipeline.end(all_stored=False)
    again = Running().start()
    assert again.total() == total == 5_000
    assert again.gauges() == gauges
    again.stop(all_stored=False)


def test_a_snapshot_waits_until_what_came_before_it_is_stored(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "SNAPSHOT_EVENTS", 1)
    monkeypatch.setattr(keeping, "SNAPSHOT_PAUSE_S", 0.0)
    running = Running()
    go_on = threading.Event()
    run_turn = running.publisher._turn

    def turn(changes: list[object]) -> None:
        if changes:
            go_on.wait(WAIT_S)
        run_turn(changes)  # type: ignore[arg-type]

    monkeypatch.setattr(running.publisher, "_turn", turn)
    running.start()
    running.send(("b1", journey()))
    until(lambda: Snapshot.objects.exists())
    time.sleep(0.3)  # that it does not come is what this is about
    assert not Snapshot.objects.exclude(digest="").exists()
    go_on.set()
    until(lambda: Snapshot.objects.exclude(digest="").exists())
    assert Pattern.objects.count() == 1
    running.stop()


# --- whose engine it is -------------------------------------------------------------------


def test_who_has_written_meanwhile_is_given_way_to(running: Running) -> None:
    running.send(("b1", journey()))
    position = running.pipeline.position
    kind = JournalEntry.Kind.EVENTS
    body = journal.encode_events(journey("u9"))
    JournalEntry.objects.create(
        position=position + 1, kind=kind, site_id=1, user_id="u9", arrival=now_ms(), body=body
    )
    assert running.send(("b2", journey("u2"))) == [Refusal.STANDBY]
    until(lambda: running.send(("b2", journey("u2"))) == ["kept"])
    assert running.total() == 15, "read again, with what the other wrote"


def test_the_owner_says_who_it_is(running: Running) -> None:
    owner = Owner.objects.get(pk=1)
    assert "pid" in owner.name
    assert owner.alive_at is not None


def test_nothing_is_taken_before_it_runs(site: Site) -> None:
    made = Running()
    assert made.send(("b1", journey())) == [Refusal.STARTING]
    made.start()
    made.stop()
    assert made.send(("b1", journey())) == [Refusal.STOPPING]


def test_without_a_database_it_says_so_and_begins_when_it_is_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Running()
    away = OperationalError("could not connect to server")
    own = made.keeping.own
    refuse: list[OperationalError] = [away]

    def owning() -> bool:
        if refuse:
            raise refuse[0]
        return own()

    monkeypatch.setattr(made.keeping, "own", owning)
    made.publisher.start()
    made.upkeep.start()
    made.pipeline.start()
    assert made.pipeline.settled.wait(WAIT_S)
    assert made.send(("b1", journey())) == [Refusal.DATABASE]
    refuse.clear()
    until(lambda: made.pipeline.state is State.RUNNING)
    assert made.send(("b1", journey())) == ["kept"]
    made.stop()


def test_an_engine_that_stumbles_leaves_the_journal_whole(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def observe(*_: object) -> None:
        raise RuntimeError("an event nobody thought of")

    monkeypatch.setattr(Engine, "observe", observe)
    assert running.send(("b1", journey())) == ["kept"]
    monkeypatch.undo()
    assert journalled() == 5
    assert running.total() == 0
    assert running.send(("b2", journey())) == ["kept"]
    assert running.total() == 5
    connection.close()
