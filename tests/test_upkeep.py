"""The upkeep beside a running pipeline: snapshots stay few, the journal within its bounds."""

import pytest

from detection import keeping, upkeep
from detection.models import JournalEntry, Site, Snapshot, SnapshotPart
from tests.test_durable import Running, journey, until


def test_two_snapshots_stay_and_the_journal_before_them_goes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "SNAPSHOT_EVENTS", 50)
    monkeypatch.setattr(keeping, "SNAPSHOT_PAUSE_S", 0.0)
    monkeypatch.setattr(upkeep, "IDLE_S", 0.02)
    running = Running()
    running.upkeep.retention._journal._most_bytes = 1  # nothing that is not needed
    running.start()
    for n in range(60):
        running.send(*[(f"b{n}.{m}", journey(f"u{m}")) for m in range(3)])
    until(lambda: running.upkeep.written >= 3)
    whole = Snapshot.objects.exclude(digest="")

    def tidy() -> bool:
        positions = list(whole.values_list("position", flat=True))
        older = JournalEntry.objects.filter(position__lte=min(positions, default=0))
        return len(positions) == 2 and not older.exists()

    until(tidy)
    total = running.total()
    assert running.upkeep.journal_bytes is not None
    running.stop(all_stored=False)
    kept = set(Snapshot.objects.values_list("pk", flat=True))
    assert set(SnapshotPart.objects.values_list("snapshot", flat=True)) <= kept
    again = Running().start()
    assert again.total() == total == 900, "what has gone was not needed"
    again.stop(all_stored=False)


def test_a_process_that_waits_prunes_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "IDLE_S", 0.02)
    running = Running()
    looked: list[int] = []
    owner = [False]

    def step(now: int) -> bool:
        looked.append(now)
        return False

    monkeypatch.setattr(running.upkeep, "_owner", lambda: owner[0])
    monkeypatch.setattr(running.upkeep.retention, "step", step)
    running.start()
    running.send(("b1", journey()))
    assert not looked
    owner[0] = True
    until(lambda: looked)
    running.stop()
