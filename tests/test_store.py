"""Patterns and their steps in the database: monotone, once each, in one gapless line."""

import threading

import pytest
from django.db import connection

from detection import resolution, store
from detection.engine.patterns import Change, Identified, Severity
from detection.models import Pattern, PatternChange, Site
from tests.making import T0, escalated, opened, recovered

LOW, MEDIUM, HIGH = Severity.LOW, Severity.MEDIUM, Severity.HIGH

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _default_site(db: None) -> None:
    Site.objects.get_or_create(pk=1, defaults={"name": "Default site"})


def steps(site: int = 1) -> list[tuple[int, str, str]]:
    rows = PatternChange.objects.filter(site_id=site).order_by("sequence")
    return [(row.sequence, row.pattern_id, row.kind) for row in rows]


def row(pattern_id: str = "p1") -> Pattern:
    return Pattern.objects.get(pk=pattern_id)


def test_an_opened_pattern_is_a_row_and_a_step() -> None:
    assert store.apply([opened(page="/checkout", user_id="u1")]) == 1
    stored = row()
    assert (stored.user_id, stored.page, stored.severity) == ("u1", "/checkout", LOW.value)
    assert stored.state == "open"
    assert steps() == [(1, "p1", "opened")]


def test_the_same_again_is_nothing_new() -> None:
    news = [opened(), escalated(), escalated(severity=HIGH), recovered()]
    assert store.apply(news) == 4
    before = row().updated_at
    assert store.apply(news) == 0
    assert store.apply([opened()]) == 0
    assert [kind for _, _, kind in steps()] == ["opened", "escalated", "escalated", "recovered"]
    assert row().updated_at == before


@pytest.mark.parametrize("together", [True, False], ids=["in one go", "one by one"])
def test_steps_hold_the_pattern_as_they_left_it(together: bool) -> None:
    news = [opened(), escalated(), recovered()]
    if together:
        store.apply(news)
    else:
        for change in news:
            store.apply([change])
    told = PatternChange.objects.order_by("sequence")
    assert [step.severity for step in told] == [1, 2, 2]
    assert [step.explanation for step in told][:2] == ["A low thing.", "A medium thing."]
    assert [step.recovered_at is not None for step in told] == [False, False, True]
    assert [step.resolved_at is not None for step in told] == [False, False, True]


def test_a_severity_never_falls() -> None:
    store.apply([opened(severity=HIGH)])
    assert store.apply([escalated(severity=MEDIUM), escalated(severity=HIGH), opened()]) == 0
    assert row().severity == HIGH.value


def test_an_escalation_reopens_what_was_resolved() -> None:
    store.apply([opened()])
    resolution.resolve("p1", by="ann", note="seen")
    store.apply([escalated()])
    stored = row()
    assert (stored.state, stored.resolved_by, stored.note) == ("open", "", "seen")
    assert [kind for _, _, kind in steps()] == ["opened", "resolved", "escalated"]


def test_saying_it_again_leaves_a_resolution_alone() -> None:
    store.apply([opened(), escalated()])
    resolution.resolve("p1", by="ann", note="seen")
    store.apply([opened(), escalated()])
    stored = row()
    assert (stored.state, stored.resolved_by, stored.note) == ("resolved", "ann", "seen")


def test_a_recovery_resolves() -> None:
    store.apply([opened(severity=HIGH), recovered(at=T0 + 20)])
    stored = row()
    assert stored.state == "recovered"
    assert stored.resolved_at == stored.recovered_at


def test_a_recovery_keeps_an_earlier_resolution() -> None:
    store.apply([opened(severity=HIGH)])
    resolution.resolve("p1", by="ann")
    store.apply([recovered()])
    stored = row()
    assert stored.resolved_by == "ann"
    assert stored.resolved_at != stored.recovered_at


def test_a_recovery_may_be_the_first_that_is_heard() -> None:
    assert store.apply([recovered()]) == 1
    assert row().state == "recovered"
    assert steps() == [(1, "p1", "recovered")]


def test_patterns_are_counted_once_each() -> None:
    store.apply([opened("p1"), opened("p2"), escalated("p1"), opened("p1")])
    store.apply([opened("p2"), opened("p3")])
    assert Site.objects.get(pk=1).patterns_detected == 3


def test_each_site_has_its_own_line() -> None:
    second = Site.objects.create(name="Second")
    store.apply([opened("p1"), opened("p2", site=second.pk), opened("p3"), escalated("p1")])
    assert [sequence for sequence, _, _ in steps()] == [1, 2, 3]
    assert steps(second.pk) == [(1, "p2", "opened")]
    assert Site.objects.get(pk=second.pk).patterns_detected == 1


def test_patterns_of_a_deleted_site_are_dropped_quietly() -> None:
    news: list[Change | Identified] = [
        opened("gone", site=999),
        opened("p1"),
        Identified(999, "u1", "ann", T0),
    ]
    assert store.apply(news) == 1
    assert [pattern_id for _, pattern_id, _ in steps()] == ["p1"]


def test_an_identified_visitor_is_named_in_all_their_patterns() -> None:
    store.apply([opened("p1"), opened("p2"), opened("p3", user_id="other")])
    who = Identified(1, "u1", "Ann@Shop.example", T0 + 5)
    assert store.apply([who]) == 2
    assert row("p1").identified == row("p2").identified == "Ann@Shop.example"
    assert row("p3").identified == ""
    assert list(Pattern.objects.matching(q="ann@shop").values_list("pk", flat=True).order_by("pk"))
    assert [kind for _, _, kind in steps()][3:] == ["identified"] * 2
    assert store.apply([who]) == 0, "and only once"


def test_an_identified_visitor_is_named_in_a_pattern_of_the_same_turn() -> None:
    assert store.apply([opened(), Identified(1, "u1", "ann", T0)]) == 2
    assert row().identified == "ann"


def test_a_pattern_that_does_not_know_the_name_does_not_take_it_away() -> None:
    store.apply([opened(), Identified(1, "u1", "ann", T0)])
    store.apply([escalated()])
    assert row().identified == "ann"


def test_texts_of_any_letters_come_back() -> None:
    text = "<script>alert('x')</script> \N{WAVING HAND SIGN} \u202e \"quoted\" %s {} '; --"
    store.apply([opened(user_id=text, page="/" + text, explanation=text, evidence={"a": text})])
    stored = row()
    assert (stored.user_id, stored.page, stored.explanation) == (text, "/" + text, text)
    assert stored.evidence == {"a": text}


def test_the_number_of_queries_does_not_grow_with_the_number_of_changes(
    django_assert_max_num_queries: object,
) -> None:
    with django_assert_max_num_queries(9):  # type: ignore[operator]
        store.apply([opened(f"p{n}") for n in range(50)])
    with django_assert_max_num_queries(9):  # type: ignore[operator]
        store.apply([escalated(f"p{n}") for n in range(50)])


@pytest.mark.django_db(transaction=True)
def test_writers_at_once_leave_no_gap(site: Site) -> None:
    """Four threads write the patterns of one site: the engine's, and people's resolutions."""
    troubles: list[BaseException] = []

    def write(writer: int) -> None:
        try:
            for n in range(10):
                name = f"w{writer}-{n}"
                store.apply([opened(name), escalated(name)])
                resolution.resolve(name, by=f"writer {writer}")
        except BaseException as error:  # noqa: BLE001  (shown by the test)
            troubles.append(error)
        finally:
            connection.close()

    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert troubles == []
    assert [sequence for sequence, _, _ in steps()] == list(range(1, 121))
    site.refresh_from_db()
    assert (site.last_change, site.patterns_detected) == (120, 40)


@pytest.mark.django_db(transaction=True)
def test_writers_of_the_same_pattern_write_it_once(site: Site) -> None:
    barrier = threading.Barrier(4)

    def write() -> None:
        barrier.wait(10)
        store.apply([opened(f"p{n}") for n in range(20)])
        connection.close()

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [sequence for sequence, _, _ in steps()] == list(range(1, 21))
    assert Pattern.objects.count() == 20
