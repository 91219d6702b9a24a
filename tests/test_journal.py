"""The journal: what is written can be read again, in order, and nobody writes beside its owner."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from detection import journal
from detection.batches import Batch
from detection.engine.config import EngineConfig, decode_config, encode_config
from detection.engine.events import Event
from detection.journal import Displaced, Journal, Unreadable, by_visitor
from detection.models import JournalEntry, Site

T0 = 1_800_000_000_000
FAT = {f"key {n}": "😀" * 512 for n in range(16)}


def click(user_id: str = "u1", page: str = "/a", at: int = T0, **more: Any) -> Event:
    return Event(1, user_id, "click", page, at, **more)


def batch(events: list[Event], arrival: int = T0, name: str = "") -> Batch:
    async def make() -> Batch:
        return Batch(events[0].site, arrival, events, name)

    return asyncio.run(make())


def write(to: Journal, *batches: Batch) -> None:
    to.write([by_visitor(batch.events) for batch in batches], batches)


def test_events_come_back_as_they_were(site: Site) -> None:
    events = [
        click(),
        click(page="/café/😀", at=T0 - 5, view="v" * 64, metadata=FAT),
        Event(1, "u1", "identify", "/", T0, metadata={"id": "ann"}),
    ]
    written = Journal()
    write(written, batch(events, T0 + 7, "b1"))
    (entry,) = journal.read(0)
    assert entry == journal.Entry(1, 1, "b1", T0 + 7, events, b"")
    assert written.position == journal.head() == 1


def test_a_row_for_each_batch_and_visitor(site: Site) -> None:
    events = [click("u1", at=1), click("u2", at=2), click("u1", at=3), click("u3", at=4)]
    written = Journal()
    write(written, batch(events, T0, "b1"), batch([click("u2")], T0 + 1))
    rows = JournalEntry.objects.values_list("position", "user_id", "batch", "count", "arrival")
    assert list(rows) == [
        (1, "u1", "b1", 2, T0),
        (2, "u2", "b1", 1, T0),
        (3, "u3", "b1", 1, T0),
        (4, "u2", "", 1, T0 + 1),
    ]
    row = JournalEntry.objects.get(pk=1)
    assert row.size == len(bytes(row.body))
    assert [e.timestamp for e in next(iter(journal.read(0))).events] == [1, 3]


def test_one_commit_for_all_that_waits(
    site: Site, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    written = Journal()
    written.ready()
    with django_assert_max_num_queries(3) as asked:
        write(written, *[batch([click(f"u{n}")]) for n in range(500)])
    said = [query["sql"] for query in asked.captured_queries]
    assert sum("INSERT" in sql for sql in said) == 1
    assert JournalEntry.objects.count() == written.position == 500


def test_all_of_it_or_nothing(site: Site) -> None:
    written = Journal()
    JournalEntry.objects.create(position=3, kind=1, site=site, arrival=T0, body=b"")
    with pytest.raises(Displaced):
        write(written, *[batch([click(f"u{n}")]) for n in range(5)])
    assert written.position == 0
    assert JournalEntry.objects.count() == 1, "another's row, and none of these"


def test_configurations_stand_in_the_same_order(site: Site) -> None:
    config = EngineConfig(max_events=17)
    written = Journal()
    write(written, batch([click()]))
    written.write_config(encode_config(config), T0 + 3)
    write(written, batch([click("u2")]))
    said = list(journal.read(0))
    assert [bool(entry.config) for entry in said] == [False, True, False]
    assert decode_config(said[1].config) == config
    assert said[1].arrival == T0 + 3


def test_reading_goes_on_from_anywhere_in_slices(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SLICE", 3)
    written = Journal()
    write(written, *[batch([click(f"u{n}")]) for n in range(10)])
    JournalEntry.objects.filter(position=5).delete()  # a site has gone
    assert [entry.position for entry in journal.read(2)] == [3, 4, 6, 7, 8, 9, 10]
    assert list(journal.read(10)) == []


def test_whether_a_commit_succeeded_after_all(site: Site) -> None:
    written = Journal()
    write(written, batch([click()]))
    assert not written.written()
    JournalEntry.objects.create(position=2, kind=1, site=site, arrival=T0, body=b"")
    assert written.written()


def test_a_row_that_was_tampered_with_is_told_from_one_that_was_not(site: Site) -> None:
    JournalEntry.objects.create(
        position=1, kind=1, site=site, user_id="u1", arrival=T0, body=b"\xc1 garbled"
    )
    with pytest.raises(Unreadable):
        list(journal.read(0))


def test_a_site_takes_its_journal_with_it(site: Site) -> None:
    other = Site.objects.create(name="Other")
    written = Journal()
    write(written, batch([Event(other.pk, "u1", "click", "/", T0)]), batch([click()]))
    other.delete()
    assert [entry.site for entry in journal.read(0)] == [1]


def test_a_request_waits_for_a_lock_for_seconds_only(site: Site) -> None:
    written = Journal()
    written.ready()
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout")
            assert cursor.fetchone()[0] == journal.LOCK_MS
    connection.close()
    written.ready()  # and again on a new connection
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        assert cursor.fetchone()[0] == journal.LOCK_MS
    connection.close()
