"""The publisher with a real database: what is kept in trouble, and what is sent, in which order."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from django.db import (
    DatabaseError,
    DataError,
    InterfaceError,
    InternalError,
    OperationalError,
    connection,
)

from detection import publisher, resolution, store
from detection.engine.patterns import Severity
from detection.models import Pattern, PatternChange, Site
from detection.outbox import Outbox
from detection.publisher import Publisher
from detection.sites import SiteDirectory
from detection.trouble import DatabaseTrouble
from tests.making import escalated, opened

WAIT_S = 10.0


class Running:
    """A publisher, what it is fed from, and all that it sent."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.sites = SiteDirectory()
        self.trouble = DatabaseTrouble()
        self.publisher = Publisher(self.outbox, self.sites, self.trouble)
        self.sent: list[tuple[int, int, str]] = []

    def send(self, site: int, changes: Sequence[PatternChange]) -> None:
        self.sent += [(site, change.sequence, change.pattern.pattern_id) for change in changes]

    def start(self) -> None:
        self.publisher.start()
        assert self.publisher.ready.wait(WAIT_S)


@pytest.fixture
def running(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    made = Running()
    monkeypatch.setattr(publisher.streams, "send_changes", made.send)
    monkeypatch.setattr(publisher, "BACKOFF_S", (0.01,))
    monkeypatch.setattr(publisher, "_ticks", [])
    yield made
    made.publisher.stop(WAIT_S)


def until(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not found():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.01)


class Failing:
    """store.apply that fails a number of times, in a way of its own."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error = error
        self.left = times
        self.calls = 0

    def __call__(self, news: Any) -> int:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return store_apply(news)


store_apply = store.apply


def test_changes_are_stored_sent_and_forgotten(running: Running) -> None:
    running.start()
    running.outbox.put([opened("p1"), opened("p2")])
    until(lambda: len(running.sent) == 2)
    assert running.sent == [(1, 1, "p1"), (1, 2, "p2")]
    assert len(running.outbox) == 0
    assert Pattern.objects.count() == 2


def test_ingest_knows_the_sites_once_it_is_ready(running: Running, site: Site) -> None:
    assert not running.sites.loaded
    running.start()
    assert running.sites.by_key(site.key) == running.sites.default


def test_the_server_does_not_wait_a_turn_to_open(running: Running) -> None:
    began = time.monotonic()
    running.start()
    assert time.monotonic() - began < publisher.TURN_S / 2


def test_new_sites_are_known_soon_and_all_their_changes_are_sent(running: Running) -> None:
    running.start()
    second = Site.objects.create(name="Second")
    store.apply([opened("p1", site=second.pk), opened("p2", site=second.pk)])
    until(lambda: running.sites.by_key(second.key))
    until(lambda: len(running.sent) == 2)
    assert running.sent == [(second.pk, 1, "p1"), (second.pk, 2, "p2")]


def test_what_was_there_at_the_start_is_not_sent(running: Running) -> None:
    store.apply([opened("old")])
    running.start()
    running.outbox.put([opened("new")])
    until(lambda: running.sent)
    assert running.sent == [(1, 2, "new")]


def test_what_comes_with_the_start_is_sent(running: Running) -> None:
    running.outbox.put([opened("p1")])
    running.start()
    until(lambda: running.sent)
    assert running.sent == [(1, 1, "p1")]


@pytest.mark.parametrize("kind", [OperationalError, InterfaceError, InternalError, DatabaseError])
def test_while_the_database_is_in_trouble_changes_are_kept(
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: type[Exception],
) -> None:
    failing = Failing(kind("disk I/O error"), times=3)
    monkeypatch.setattr(publisher.store, "apply", failing)
    running.start()
    with caplog.at_level(logging.INFO, "detection.trouble"):
        running.outbox.put([opened("p1")])
        running.outbox.put([escalated("p1")])
        until(lambda: len(running.sent) == 2)
        until(lambda: len(caplog.records) >= 2)
    assert failing.calls == 4
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"], "said once each"
    assert "disk I/O error" in caplog.records[0].message
    assert Pattern.objects.get().severity == Severity.MEDIUM.value


def test_a_burst_makes_room_as_it_is_stored(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[int] = []

    def apply(news: Any) -> int:
        waiting.append(len(running.outbox))
        return store_apply(news)

    monkeypatch.setattr(publisher.store, "apply", apply)
    monkeypatch.setattr(publisher, "MOST_AT_ONCE", 2)
    running.outbox.put([opened(f"p{n}") for n in range(5)])
    running.start()
    until(lambda: len(running.sent) == 5)
    assert waiting == [5, 3, 1]


def test_an_unmigrated_database_is_named_as_such(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    error = OperationalError("no such table: detection_pattern")
    monkeypatch.setattr(publisher.store, "apply", Failing(error, 1))
    running.start()
    running.outbox.put([opened("p1")])
    until(lambda: running.sent)
    assert "python manage.py migrate" in caplog.text


@pytest.mark.parametrize("error", [DataError("value too long"), ValueError("nobody knows")])
def test_a_change_that_cannot_be_stored_holds_up_no_other(
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    def apply(news: Any) -> int:
        if any(change.pattern.pattern_id == "poison" for change in news):
            raise error
        return store_apply(news)

    monkeypatch.setattr(publisher.store, "apply", apply)
    running.start()
    running.outbox.put([opened("p1"), opened("poison"), opened("p2")])
    until(lambda: len(running.sent) == 2)
    running.outbox.put([opened("p3")])
    until(lambda: len(running.sent) == 3)
    assert [pattern_id for _, _, pattern_id in running.sent] == ["p1", "p2", "p3"]
    assert len(running.outbox) == 0
    lost = [r for r in caplog.records if "poison" in r.getMessage()]
    assert len(lost) == 1, "said once, and by name"


def test_steps_written_elsewhere_are_sent_in_the_same_line(running: Running) -> None:
    """Four threads resolve while the engine's changes come: one line, each once."""
    running.outbox.put([opened(f"p{n}") for n in range(40)])
    running.start()
    until(lambda: len(running.sent) == 40)

    def resolve(first: int) -> None:
        for n in range(first, 40, 4):
            resolution.resolve(f"p{n}")
        connection.close()

    people = [threading.Thread(target=resolve, args=(n,)) for n in range(4)]
    for person in people:
        person.start()
    running.outbox.put([opened(f"q{n}") for n in range(40)])
    for person in people:
        person.join(WAIT_S)
    until(lambda: len(running.sent) == 120)
    assert [sequence for _, sequence, _ in running.sent] == list(range(1, 121))


def test_more_than_it_sends_at_once_is_sent_too(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "MOST_AT_ONCE", 3)
    running.start()
    running.outbox.put([opened(f"p{n}") for n in range(10)])
    until(lambda: len(running.sent) == 10)
    assert [sequence for _, sequence, _ in running.sent] == list(range(1, 11))


def test_deleted_patterns_leave_a_gap_that_is_stepped_over(running: Running) -> None:
    running.start()
    store.apply([opened("p1"), opened("p2")])
    Pattern.objects.filter(pk="p2").delete()
    store.apply([opened("p3")])
    running.outbox.nudge()
    until(lambda: (1, 3, "p3") in running.sent)


def test_ticks_come_for_every_site_and_one_that_fails_harms_no_other(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticked: list[int] = []

    def fail(site: int) -> None:
        raise RuntimeError("a tick nobody thought of")

    monkeypatch.setattr(publisher, "TURN_S", 0.01)
    monkeypatch.setattr(publisher, "_ticks", [fail, ticked.append])
    second = Site.objects.create(name="Second")
    running.start()
    until(lambda: len(ticked) >= 4)
    assert set(ticked) == {1, second.pk}
    running.outbox.put([opened("p1")])
    until(lambda: running.sent)


def test_stopping_stores_and_sends_what_waits(running: Running) -> None:
    running.start()
    running.outbox.put([opened(f"p{n}") for n in range(500)])
    running.publisher.stop()
    assert len(running.sent) == 500
    assert len(running.outbox) == 0


def test_stopping_while_the_database_is_away_says_what_is_lost(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Failing(OperationalError("gone"), times=1_000_000)
    monkeypatch.setattr(publisher.store, "apply", failing)
    running.start()
    running.outbox.put([opened("p1"), opened("p2")])
    until(lambda: failing.calls)
    running.publisher.stop(timeout=0.1)
    assert "2 changes could not be stored" in caplog.text
    failing.left = 0  # so that the thread ends with the test
    running.publisher.stop()


def test_djangos_query_log_does_not_grow_in_the_thread(
    running: Running, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.DEBUG = True
    sizes: list[int] = []
    monkeypatch.setattr(publisher, "TURN_S", 0.01)
    monkeypatch.setattr(publisher, "_ticks", [lambda _: sizes.append(len(connection.queries))])
    running.start()
    until(lambda: len(sizes) >= 20)
    assert max(sizes) < 10
