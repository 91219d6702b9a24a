"""What a snapshot of the engine costs: to take, in slices, and to restore.

    python -m benchmarks.saving

Two engines: a large one (20,000 visitors with full windows of 200 events, 4 million in all) and the
last five minutes at 1,000 events a second (300,000 events of 20,000 visitors). For each: how long
the capture takes to begin, how long a slice of 100 visitors takes (the mean and the slowest), all
of them, how large the pieces are, and how long restoring takes, all in processor time. And what an
event costs while a capture runs that nobody takes from, when each visitor is encoded before their
first event.
"""

import gc
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.engine import Case
from detection.engine.engine import Engine

SLICE = 100
TURN = 20_000


def fill(visitors: int, events: int) -> Case:
    """An engine in which each visitor holds so many events."""
    case = Case(visitors, events)
    for _ in range(visitors * events):
        case.engine.observe(*next(case.traffic))
    return case


def rate(case: Case) -> float:
    """Events a second, in processor time."""
    batch = [next(case.traffic) for _ in range(TURN)]
    begin = time.process_time()
    for event, now in batch:
        case.engine.observe(event, now)
    return TURN / (time.process_time() - begin)


def taken(engine: Engine) -> list[bytes]:
    """Every piece, and what they cost."""
    begin = time.process_time()
    capture = engine.capture()
    began_ms = (time.process_time() - begin) * 1000
    pieces, slices = [], []
    while not capture.done:
        begin = time.process_time()
        pieces.append(capture.take(SLICE))
        slices.append((time.process_time() - begin) * 1000)
    size = sum(map(len, pieces)) / 1e6
    print(
        f"  begun in {began_ms:.1f} ms; a slice of {SLICE}: {sum(slices) / len(slices):.1f} ms, "
        f"slowest {max(slices):.1f} ms; all {sum(slices):,.0f} ms; {size:,.1f} MB"
    )
    return pieces


def report(visitors: int, events: int) -> None:
    case = fill(visitors, events)
    print(f"{visitors:,} visitors with {events} events, {visitors * events:,} in all")
    pieces = taken(case.engine)
    plain = max(rate(case) for _ in range(3))
    case.engine.capture()
    kept = rate(case)
    case.engine.drop_capture()
    print(f"  {plain:,.0f} events/s, {kept:,.0f} while every event meets a visitor to be kept")
    gauges = case.engine.gauges()
    del case
    gc.collect()
    begin = time.process_time()
    restored = Engine.restored(pieces)
    print(f"  restored in {time.process_time() - begin:.2f} s")
    print(f"  {gauges.bytes / 1e6:,.0f} MB by the engine's estimate")
    assert restored.gauges().visitors == visitors


def main() -> None:
    report(20_000, 15)
    report(20_000, 200)


if __name__ == "__main__":
    main()
