"""The journal within its bounds: which rows go, how few at a time, and how large it says it is."""

from collections.abc import Callable

import pytest
from django.db import OperationalError, connection
from django.db.models import QuerySet, Sum
from django.test.utils import CaptureQueriesContext

from detection.clock import to_datetime
from detection.journal_bounds import COUNTED_ROWS, PRUNED_ROWS, ROW_BYTES, JournalBounds
from detection.models import JournalEntry, Site, Snapshot
from tests.making import T0

DAY = 86_400_000
MINUTE = 60_000
NOW = T0 + 1_000 * DAY
KEEP = 10 * DAY
PLENTY = 10**12


@pytest.fixture(autouse=True)
def database(site: Site) -> None:
    """Everything below needs one."""


def fill(
    first: int,
    last: int,
    age: Callable[[int], int] = lambda position: 0,
    size: int = 100,
    site: int = 1,
) -> None:
    """Rows `first` to `last`, each `age(position)` ms old; `size` is what they claim to hold."""
    JournalEntry.objects.bulk_create(
        JournalEntry(
            position=position,
            kind=JournalEntry.Kind.EVENTS,
            site_id=site,
            user_id=f"u{position % 7}",
            arrival=NOW - age(position),
            count=1,
            size=size,
            body=b"",
        )
        for position in range(first, last + 1)
    )


def snapshot(position: int, whole: bool = True) -> None:
    Snapshot.objects.create(
        position=position,
        version=1,
        clock=T0,
        digest="d" if whole else "",
        taken_at=to_datetime(NOW),
    )


def finish(bounds: JournalBounds, now: int = NOW) -> None:
    """Count and prune, turn about, until there is no more to do."""
    todo = [bounds.count, bounds.prune]
    for _ in range(2_000):
        task = todo.pop(0)
        if task(now):
            todo.append(task)
        if not todo:
            return
    raise AssertionError("it never ends")


def positions() -> list[int]:
    return list(JournalEntry.objects.order_by("position").values_list("position", flat=True))


def true_bytes() -> int:
    rows = JournalEntry.objects.all()
    return rows.count() * ROW_BYTES + (rows.aggregate(total=Sum("size"))["total"] or 0)


# --- by age -----------------------------------------------------------------------------


def test_rows_go_when_they_are_past_their_time() -> None:
    ages = {1: KEEP + 1, 2: KEEP, 3: KEEP - 1, 4: 0}
    fill(1, 4, ages.__getitem__)
    snapshot(4)
    finish(JournalBounds(KEEP, PLENTY))
    assert positions() == [3, 4]


def test_what_follows_the_snapshot_stays_however_old() -> None:
    fill(1, 10, lambda position: 2 * KEEP)
    snapshot(6)
    finish(JournalBounds(KEEP, 1))
    assert positions() == [7, 8, 9, 10]


def test_what_follows_the_snapshot_before_the_newest_stays() -> None:
    fill(1, 10, lambda position: 2 * KEEP)
    snapshot(2)
    snapshot(4)
    snapshot(7)
    snapshot(9, whole=False)
    finish(JournalBounds(KEEP, 1))
    assert positions() == [5, 6, 7, 8, 9, 10]


def test_everything_stays_while_there_is_no_whole_snapshot() -> None:
    fill(1, 10, lambda position: 2 * KEEP)
    snapshot(10, whole=False)
    finish(JournalBounds(KEEP, 1))
    assert positions() == list(range(1, 11))


# --- by size ----------------------------------------------------------------------------


def test_the_oldest_go_while_it_is_too_large() -> None:
    fill(1, 10, size=700)  # 1,000 bytes each
    snapshot(10)
    finish(JournalBounds(KEEP, 4_000))
    assert positions() == [7, 8, 9, 10]
    finish(JournalBounds(KEEP, 3_999))
    assert positions() == [8, 9, 10]


def test_it_is_kept_within_its_bound_as_it_grows() -> None:
    bounds = JournalBounds(KEEP, 100 * (ROW_BYTES + 100))
    for last in range(50, 1_001, 50):
        fill(last - 49, last)
        snapshot(last)
        finish(bounds)
        assert positions() == list(range(max(1, last - 99), last + 1))
        assert bounds.bytes == true_bytes()


def test_nothing_goes_for_its_size_before_all_has_been_counted() -> None:
    fill(1, COUNTED_ROWS + 1)
    snapshot(COUNTED_ROWS + 1)
    bounds = JournalBounds(KEEP, 1)
    assert bounds.count(NOW)
    assert not bounds.prune(NOW)
    assert not bounds.count(NOW)
    assert bounds.prune(NOW)
    assert len(positions()) == COUNTED_ROWS + 1 - PRUNED_ROWS


# --- steps ------------------------------------------------------------------------------


def test_a_step_takes_few_rows_the_oldest_first() -> None:
    fill(1, 2 * PRUNED_ROWS + 30, lambda position: 2 * KEEP)
    snapshot(PRUNED_ROWS + 20)
    bounds = JournalBounds(KEEP, PLENTY)
    bounds.count(NOW)
    assert bounds.prune(NOW)
    assert positions()[0] == PRUNED_ROWS + 1
    assert not bounds.prune(NOW)
    assert positions()[0] == PRUNED_ROWS + 21
    assert not bounds.prune(NOW)


def test_a_step_takes_fewer_of_large_rows() -> None:
    fill(1, 10, lambda position: 2 * KEEP, size=1_500_000)
    snapshot(10)
    bounds = JournalBounds(KEEP, PLENTY)
    bounds.count(NOW)
    assert bounds.prune(NOW)
    assert positions()[0] == 4  # three are the first to reach 4 MB


def test_a_step_is_the_same_few_statements_however_large_the_journal_is() -> None:
    fill(1, 600, lambda position: 2 * KEEP)
    snapshot(600)
    bounds = JournalBounds(KEEP, PLENTY)
    with CaptureQueriesContext(connection) as counting:
        bounds.count(NOW)
    assert len(counting) == 2  # the sites, a slice of the journal
    for _ in range(3):
        with CaptureQueriesContext(connection) as pruning:
            bounds.prune(NOW)
        verbs = [q["sql"].split()[0] for q in pruning]
        # The snapshots, the oldest rows, and away with them.
        assert [v for v in verbs if v not in {"BEGIN", "COMMIT"}] == ["SELECT", "SELECT", "DELETE"]
    assert positions() == []


@pytest.mark.skipif(connection.vendor != "sqlite", reason="it reads SQLite's plan")
def test_a_step_walks_along_the_primary_key() -> None:
    fill(1, 10, lambda position: 2 * KEEP)
    snapshot(10)
    with CaptureQueriesContext(connection) as queries:
        finish(JournalBounds(KEEP, PLENTY))
    journal = [q["sql"] for q in queries if '"detection_journalentry"' in q["sql"]]
    assert len(journal) == 3
    for asked in journal:
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + asked)
            plan = [row[-1] for row in cursor.fetchall() if "detection_journalentry" in row[-1]]
        assert all("(position>" in line and "SEARCH" in line for line in plan), plan
        assert plan


# --- how large it is --------------------------------------------------------------------


def test_it_is_counted_a_slice_at_a_time() -> None:
    fill(1, 2 * COUNTED_ROWS + 5)
    bounds = JournalBounds(KEEP, PLENTY)
    for _ in range(2):
        assert bounds.bytes is None
        assert bounds.count(NOW)
    assert not bounds.count(NOW)
    assert bounds.bytes == (2 * COUNTED_ROWS + 5) * (ROW_BYTES + 100)
    fill(2 * COUNTED_ROWS + 6, 2 * COUNTED_ROWS + 8, size=1_000)
    bounds.count(NOW)
    assert bounds.bytes == true_bytes()


def test_an_empty_journal_has_no_bytes() -> None:
    bounds = JournalBounds(KEEP, PLENTY)
    assert bounds.bytes is None
    finish(bounds)
    assert bounds.bytes == 0


def test_a_site_that_has_gone_is_counted_no_longer() -> None:
    other = Site.objects.create(name="Another")
    fill(1, 100)
    fill(101, 200, site=other.pk, size=10_000)
    snapshot(200)
    bounds = JournalBounds(KEEP, 1_000_000)
    bounds.count(NOW)
    assert bounds.bytes == true_bytes() > 1_000_000
    other.delete()
    finish(bounds)
    assert len(positions()) == 100, "what went with the site made room enough"
    assert bounds.bytes == true_bytes()


@pytest.mark.parametrize(("later", "again"), [(MINUTE, False), (MINUTE + 1, True)])
def test_it_is_counted_anew_after_a_pause(later: int, again: bool) -> None:
    """Another process may have owned and pruned it meanwhile."""
    fill(1, 100)
    bounds = JournalBounds(KEEP, PLENTY)
    finish(bounds)
    counted = bounds.bytes
    JournalEntry.objects.filter(position__lte=40).delete()
    finish(bounds, NOW + later)
    assert bounds.bytes == (true_bytes() if again else counted)


def test_it_is_counted_anew_once_a_day_and_tells_the_last_count_meanwhile() -> None:
    fill(1, COUNTED_ROWS + 10)
    bounds = JournalBounds(2 * KEEP, PLENTY)
    finish(bounds)
    counted = bounds.bytes
    JournalEntry.objects.filter(position__lte=40).delete()
    for minute in range(1, 24 * 60):
        bounds.count(NOW + minute * MINUTE)
    assert bounds.bytes == counted
    fill(COUNTED_ROWS + 11, COUNTED_ROWS + 60)
    assert bounds.count(NOW + DAY)
    assert bounds.bytes == counted
    assert not bounds.count(NOW + DAY)
    assert bounds.bytes == true_bytes()


def test_where_nobody_knows_what_has_gone_it_is_counted_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(1, 100, lambda position: 2 * KEEP)
    snapshot(50)
    bounds = JournalBounds(KEEP, PLENTY)
    bounds.count(NOW)
    real = QuerySet.delete

    def lost(rows: QuerySet[JournalEntry]) -> None:
        """The commit went through; its answer did not."""
        real(rows)
        raise OperationalError("the connection was lost")

    with monkeypatch.context() as broken:
        broken.setattr(QuerySet, "delete", lost)
        with pytest.raises(OperationalError):
            bounds.prune(NOW)
    finish(bounds)
    assert positions() == list(range(51, 101))
    assert bounds.bytes == true_bytes()
