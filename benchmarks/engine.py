"""How many events a second the engine takes, and whether that depends on what it holds.

    python -m benchmarks.engine

Each case hears 201 events of every visitor first, and holds 10 or 200 of them; then it times
further events of the same traffic, in turns with the other cases so that they meet the same
machine. The best of the turns counts, in processor time. Half of the events are scrolls, the rest
clicks, navigations, idle reports and tab changes over 20 pages, three of them a funnel's steps, so
that about one event in thirty makes a pattern. Also prints the bytes a visitor takes beyond their
events.
"""

import random
import sys
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from detection.engine.config import EngineConfig
from detection.engine.engine import Engine
from detection.engine.events import Event

TURN = 20_000
TURNS = 9
WINDOW_MS = 300_000
GAP_MS = 1_000
ROUNDS = 201
PAGES = ["/cart", "/checkout", "/payment", *(f"/products/{number}" for number in range(17))]
ACTIONS = ["scroll"] * 10 + ["click"] * 5 + ["navigate"] * 3 + ["idle", "tab_visible"]
IDLE = {"duration_ms": "10000"}


@dataclass
class Case:
    """Visitors who each send an event every second, and the engine that hears them."""

    visitors: int
    held: int
    best: float = 0.0
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = Engine(EngineConfig(max_events=self.held, max_bytes=10**12))
        self.traffic = self._events()

    def _events(self) -> Iterator[tuple[Event, int]]:
        draw = random.Random(1)
        users = [f"visitor-{number}" for number in range(self.visitors)]
        pages = [draw.choice(PAGES) for _ in users]
        now = 1_700_000_000_000.0
        while True:
            for index, user in enumerate(users):
                now += GAP_MS / self.visitors
                action = draw.choice(ACTIONS)
                if action == "navigate":
                    pages[index] = draw.choice(PAGES)
                metadata = IDLE if action == "idle" else None
                at = int(now)
                yield Event(1, user, action, pages[index], at, "", metadata), at

    def fill(self) -> None:
        """Bring every window to its steady size."""
        observe = self.engine.observe
        for _ in range(self.visitors * ROUNDS):
            observe(*next(self.traffic))

    def turn(self) -> None:
        """Time one turn of events that are made beforehand."""
        batch = [next(self.traffic) for _ in range(TURN)]
        observe = self.engine.observe
        begin = time.process_time()
        for event, now in batch:
            observe(event, now)
        self.best = max(self.best, TURN / (time.process_time() - begin))

    def mean_window(self) -> float:
        windows = self.engine.active_visitors(1, WINDOW_MS)[:100]
        found = [self.engine.window(1, visitor.user_id) for visitor in windows]
        return sum(len(window.events) for window in found if window) / len(found)


def visitor_bytes(visitors: int = 5_000) -> float:
    """Bytes a visitor with ten events and a few visited pages takes beyond those events."""
    case = Case(visitors, 10)
    batch = [next(case.traffic) for _ in range(visitors * 10)]
    tracemalloc.start()
    for event, now in batch:
        case.engine.observe(event, now)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / visitors


def main() -> None:
    cases = [Case(visitors, held) for held in (10, 200) for visitors in (1_000, 20_000)]
    for case in cases:
        case.fill()
    for _ in range(TURNS):
        for case in cases:
            case.turn()
    print("visitors  window  events/s")
    for case in cases:
        print(f"{case.visitors:8,}  {case.mean_window():6.0f}  {case.best:8,.0f}")
    print(f"{visitor_bytes():,.0f} bytes a visitor beyond their events")


if __name__ == "__main__":
    main()
