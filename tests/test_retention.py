"""What goes with time, what stays, and in how small steps: in a real database."""

from itertools import pairwise
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext

from detection import retention
from detection.clock import to_datetime
from detection.models import Pattern, PatternChange, Site, Snapshot, SnapshotPart
from detection.retention import PATTERNS, SESSIONS, Retention
from tests.making import T0

DAY = 86_400_000
NOW = T0 + 1_000 * DAY


@pytest.fixture(autouse=True)
def bounds(settings: LazySettings, site: Site) -> None:
    settings.BL_RETENTION = 10


def finish(kept: Retention, now: int = NOW) -> int:
    """Step until there is no more to do; how many steps it took."""
    steps = 1
    while kept.step(now):
        steps += 1
        assert steps < 1_000, "it never ends"
    return steps


# --- patterns ---------------------------------------------------------------------------


def make_patterns(site: Site, *ages: int, changes: int = 2) -> None:
    """Patterns p0, p1 … that changed last `age` ms ago, each with its changes."""
    patterns, steps = [], []
    sequence = site.last_change
    for number, age in enumerate(ages):
        at = to_datetime(NOW - age)
        fields: dict[str, Any] = {"severity": 1, "explanation": "It took long."}
        row = Pattern(
            pattern_id=f"{site.pk}.p{number}",
            site=site,
            user_id="u1",
            type="hesitation",
            place="/checkout",
            page="/checkout",
            detected_at=to_datetime(NOW - 900 * DAY),
            updated_at=at,
            search_text="",
            **fields,
        )
        patterns.append(row)
        for _ in range(changes):
            sequence += 1
            steps.append(
                PatternChange(
                    site=site, sequence=sequence, pattern=row, kind="opened", at=at, **fields
                )
            )
    Pattern.objects.bulk_create(patterns)
    PatternChange.objects.bulk_create(steps)
    site.last_change = sequence
    site.patterns_detected = len(ages)
    site.save()


def patterns() -> set[str]:
    return {name.partition(".")[2] for name in Pattern.objects.values_list("pk", flat=True)}


def test_patterns_go_when_their_last_change_is_past_its_time(site: Site) -> None:
    make_patterns(site, 10 * DAY + 1, 10 * DAY, 10 * DAY - 1, 0)
    finish(Retention())
    assert patterns() == {"p2", "p3"}
    assert set(PatternChange.objects.values_list("pattern_id", flat=True)) == {"1.p2", "1.p3"}


def test_the_counts_of_a_site_stay(site: Site) -> None:
    make_patterns(site, 10 * DAY, 11 * DAY)
    finish(Retention())
    assert patterns() == set()
    site.refresh_from_db()
    assert (site.last_change, site.patterns_detected) == (4, 2)


def test_a_step_takes_few_patterns_the_oldest_first(site: Site) -> None:
    make_patterns(site, *(20 * DAY - number for number in range(PATTERNS + 5)), changes=1)
    kept = Retention()
    found = []
    for _ in range(40):
        found.append(Pattern.objects.count())
        kept.step(NOW)
        if 0 < Pattern.objects.count() <= 5:
            assert patterns() == {f"p{number}" for number in range(PATTERNS, PATTERNS + 5)}
    drops = [before - after for before, after in pairwise(found)]
    assert [drop for drop in drops if drop] == [PATTERNS, 5]


def test_a_step_takes_patterns_of_all_sites(site: Site) -> None:
    other = Site.objects.create(name="Another")
    make_patterns(site, 10 * DAY, 9 * DAY)
    make_patterns(other, 11 * DAY, 8 * DAY)
    finish(Retention())
    assert set(Pattern.objects.values_list("pk", flat=True)) == {f"{site.pk}.p1", f"{other.pk}.p1"}


def test_a_pattern_that_changes_while_it_is_about_to_go_stays(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_patterns(site, 11 * DAY, 12 * DAY)
    real = retention.store.lock

    def changes_meanwhile(pk: int) -> bool:
        Pattern.objects.filter(pk="1.p1").update(updated_at=to_datetime(NOW))
        return real(pk)

    monkeypatch.setattr(retention.store, "lock", changes_meanwhile)
    finish(Retention())
    assert patterns() == {"p1"}
    assert PatternChange.objects.filter(pattern="1.p1").count() == 2


@pytest.mark.skipif(connection.vendor != "sqlite", reason="it reads SQLite's plan")
def test_the_oldest_patterns_are_found_by_an_index(site: Site) -> None:
    make_patterns(site, 11 * DAY)
    with CaptureQueriesContext(connection) as queries:
        finish(Retention())
    asked = [q["sql"] for q in queries if 'ORDER BY "detection_pattern"."updated_at"' in q["sql"]]
    assert asked
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN QUERY PLAN " + asked[0])
        plan = " ".join(row[-1] for row in cursor.fetchall())
    assert "pattern_updated" in plan
    assert "TEMP B-TREE" not in plan


# --- snapshots --------------------------------------------------------------------------


def make_snapshot(position: int, parts: int = 3, whole: bool = True, age: int = 0) -> int:
    row = Snapshot.objects.create(
        position=position,
        version=1,
        clock=T0,
        parts=parts,
        digest="d" if whole else "",
        taken_at=to_datetime(NOW - age),
    )
    SnapshotPart.objects.bulk_create(
        SnapshotPart(snapshot=row, number=number, body=b"part") for number in range(parts)
    )
    return row.pk


def snapshots() -> list[int]:
    """The positions of those that are there, all parts of which are."""
    whole = [row for row in Snapshot.objects.order_by("pk") if row.pieces.count() == row.parts]
    assert SnapshotPart.objects.count() == sum(row.parts for row in whole), "parts are left over"
    return [row.position for row in whole]


def test_the_two_newest_whole_snapshots_stay(site: Site) -> None:
    for position in (10, 20, 30, 40):
        make_snapshot(position, age=5 * DAY)
    finish(Retention())
    assert snapshots() == [30, 40]
    finish(Retention())
    assert snapshots() == [30, 40]


def test_a_snapshot_goes_a_part_a_step_and_no_longer_counts_from_the_first(site: Site) -> None:
    first = make_snapshot(10, parts=4)
    make_snapshot(20)
    make_snapshot(30)
    kept = Retention()
    left = []
    for _ in range(60):
        kept.step(NOW)
        left.append(SnapshotPart.objects.filter(snapshot=first).count())
        row = Snapshot.objects.filter(pk=first).first()
        if left[-1] < 4 and row is not None:
            assert row.digest == "", "it says that it is whole, and is not"
    assert left == sorted(left, reverse=True)
    assert set(left) == {4, 3, 2, 1, 0}
    assert snapshots() == [20, 30]


def test_an_unfinished_snapshot_goes_when_a_whole_one_has_followed(site: Site) -> None:
    make_snapshot(10, whole=False)
    make_snapshot(20)
    make_snapshot(30, whole=False)
    finish(Retention())
    assert snapshots() == [20, 30]


def test_an_unfinished_snapshot_goes_after_a_day(site: Site) -> None:
    make_snapshot(20)
    make_snapshot(30, whole=False, age=DAY)
    make_snapshot(40, whole=False, age=DAY - 1)
    finish(Retention())
    assert snapshots() == [20, 40]


def test_the_snapshot_that_is_being_written_is_left_alone(site: Site) -> None:
    kept = Retention()
    kept.writing = make_snapshot(30, whole=False, age=2 * DAY)
    finish(kept)
    assert snapshots() == [30]
    kept.writing = None
    finish(kept)
    assert snapshots() == []


# --- sessions ---------------------------------------------------------------------------


def make_sessions(count: int, age: int) -> None:
    expires = to_datetime(NOW - age)
    first = Session.objects.count()
    Session.objects.bulk_create(
        Session(session_key=f"s{n}", session_data="", expire_date=expires)
        for n in range(first, first + count)
    )


def test_expired_sessions_go_once_a_day(site: Site) -> None:
    make_sessions(1, 0)
    make_sessions(1, -1)
    kept = Retention()
    finish(kept)
    assert [row.session_key for row in Session.objects.all()] == ["s1"]
    finish(kept, NOW + DAY - 1)
    assert Session.objects.count() == 1
    finish(kept, NOW + DAY)
    assert Session.objects.count() == 0


def test_sessions_go_a_few_a_step(site: Site) -> None:
    make_sessions(SESSIONS + 5, DAY)
    kept = Retention()
    found = [SESSIONS + 5]
    for _ in range(12):
        kept.step(NOW)
        found.append(Session.objects.count())
    assert sorted(set(found)) == [0, 5, SESSIONS + 5]


# --- steps ------------------------------------------------------------------------------


@pytest.fixture
def all_to_do(site: Site) -> Retention:
    make_patterns(site, *([20 * DAY] * 250))
    make_sessions(450, DAY)
    for position in range(5):
        make_snapshot(position)
    return Retention()


def test_every_step_is_a_few_statements(all_to_do: Retention) -> None:
    most = 0
    more = True
    while more:
        with CaptureQueriesContext(connection) as queries:
            more = all_to_do.step(NOW)
        most = max(most, len(queries))
    assert most <= 10
    assert not Pattern.objects.exists()
    assert not Session.objects.exists()
    assert Snapshot.objects.count() == 2


def test_an_idle_round_only_reads(site: Site) -> None:
    kept = Retention()
    finish(kept)
    with CaptureQueriesContext(connection) as queries:
        assert finish(kept) == 5
    assert len(queries) <= 7
    assert all(q["sql"].startswith("SELECT") for q in queries), [q["sql"] for q in queries]


def test_trouble_with_one_thing_holds_up_no_other(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_patterns(site, 20 * DAY)
    make_sessions(1, DAY)
    real = retention.store.lock
    refused = []

    def refuses(pk: int) -> bool:
        refused.append(pk)
        raise RuntimeError("no")

    monkeypatch.setattr(retention.store, "lock", refuses)
    kept = Retention()
    with pytest.raises(RuntimeError):
        finish(kept)
    finish(kept)
    assert len(refused) == 1
    assert not Session.objects.exists()
    assert Pattern.objects.exists()
    monkeypatch.setattr(retention.store, "lock", real)
    finish(kept)
    assert not Pattern.objects.exists()
