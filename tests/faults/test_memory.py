"""More visitors than the bounds allow: what the server holds levels off."""

from pathlib import Path

import pytest

from tests.faults.hurried import Hurried
from tests.faults.memory import flood

SAMPLES = 12
# From the first seconds on, since they need memory as well.
SNAPSHOTS = {"SNAPSHOT_EVENTS": 10_000, "SNAPSHOT_PAUSE_S": 3.0}


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("visitors", "most_mb", "most_visitors"),
    [(60_000, 64, 200_000), (20_000, 1_024, 2_000)],
    ids=["bytes", "visitors"],
)
def test_resident_memory_levels_off(
    tmp_path: Path, migrated: Path, visitors: int, most_mb: int, most_visitors: int
) -> None:
    bounds = {"BL_MAX_MEMORY_MB": str(most_mb), "BL_MAX_VISITORS": str(most_visitors)}
    server = Hurried(tmp_path, migrated, BL_JOURNAL_MAX_MB="50", **bounds)
    server.hurry = SNAPSHOTS
    with server:
        idle = server.rss()
        samples = list(flood(server, visitors, SAMPLES))
        assert server.stop(90) == 0
    told = "\n".join(str(sample) for sample in samples)
    assert all(sample.visitors <= most_visitors for sample in samples), told
    assert all(sample.held <= most_mb for sample in samples), told
    assert samples[-1].evicted > visitors / 2, told
    # A third of the way on it is full, and from there on nothing is added to it.
    early = max(sample.rss for sample in samples[SAMPLES // 3 : SAMPLES // 2])
    late = max(sample.rss for sample in samples[-SAMPLES // 3 :])
    assert late < early * 1.1 + 10, told
    assert late < idle + 120 + max(sample.held for sample in samples), told
