"""What people do with patterns, and who wins when two do it at once."""

import threading

import pytest
from django.db import connection

from detection import resolution, store
from detection.models import Pattern, PatternChange, Site
from tests.making import opened, recovered

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _pattern(db: None) -> None:
    Site.objects.get_or_create(pk=1, defaults={"name": "Default site"})
    store.apply([opened()])


def kinds() -> list[tuple[str, str]]:
    return [(step.kind, step.actor) for step in PatternChange.objects.order_by("sequence")]


def test_resolving_says_when_and_by_whom() -> None:
    resolved = resolution.resolve("p1", by="ann", note="rang them")
    assert resolved.state == "resolved"
    assert (resolved.resolved_by, resolved.note) == ("ann", "rang them")
    assert kinds() == [("opened", ""), ("resolved", "ann")]


def test_resolving_again_changes_nothing() -> None:
    first = resolution.resolve("p1", by="ann")
    second = resolution.resolve("p1", by="bob")
    assert (second.resolved_by, second.resolved_at) == ("ann", first.resolved_at)
    assert kinds() == [("opened", ""), ("resolved", "ann")]


def test_a_note_may_come_later_and_no_note_keeps_it() -> None:
    resolution.resolve("p1", by="ann")
    assert resolution.resolve("p1", note="later").note == "later"
    assert resolution.resolve("p1").note == "later"
    assert resolution.resolve("p1", note="").note == ""


def test_reopening_takes_it_back() -> None:
    resolution.resolve("p1", by="ann")
    reopened = resolution.reopen("p1", by="bob")
    assert (reopened.state, reopened.resolved_by) == ("open", "")
    assert kinds()[1:] == [("resolved", "ann"), ("reopened", "bob")]


def test_reopening_what_is_open_changes_nothing() -> None:
    resolution.reopen("p1", by="bob")
    assert kinds() == [("opened", "")]


def test_a_recovered_pattern_stays_closed() -> None:
    store.apply([recovered()])
    assert resolution.reopen("p1").state == "recovered"
    assert [kind for kind, _ in kinds()] == ["opened", "recovered"]


@pytest.mark.parametrize("change", [resolution.resolve, resolution.reopen])
def test_an_unknown_pattern(change: object) -> None:
    with pytest.raises(Pattern.DoesNotExist):
        change("nothing")  # type: ignore[operator]


def test_a_long_name_is_cut_to_what_the_table_holds() -> None:
    assert resolution.resolve("p1", by="n" * 200).resolved_by == "n" * 150


@pytest.mark.django_db(transaction=True)
def test_of_two_who_resolve_at_once_one_wins(site: Site) -> None:
    barrier = threading.Barrier(4)

    def press(name: str) -> None:
        barrier.wait(10)
        resolution.resolve("p1", by=name)
        connection.close()

    people = [threading.Thread(target=press, args=(f"person {n}",)) for n in range(4)]
    for person in people:
        person.start()
    for person in people:
        person.join(30)
    assert len(kinds()) == 2
    assert Pattern.objects.get(pk="p1").resolved_by == kinds()[1][1]
