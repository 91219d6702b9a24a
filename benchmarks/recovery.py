"""How long a server that was killed takes until it is ready again.

    python -m benchmarks.recovery [--seconds 300] [--rate 1000] [--visitors 1000]

Fills a journal as that traffic would have, kills nothing but time, and starts a real server on it:
once from the journal alone, and once from the snapshot that its clean end left.
"""

import argparse
import os
import random
import re
import tempfile
import time
from pathlib import Path

PAGES = ("/", "/products", "/search", "/cart", "/checkout", "/payment", "/about")
ACTIONS = ("navigate", "click", "scroll", "click", "scroll", "idle", "tab_hidden", "tab_visible")
BATCH = 5


def fill(seconds: int, rate: int, visitors: int) -> int:
    """Write the journal of that traffic, which ended now; how many events it holds."""
    from detection.clock import now_ms
    from detection.engine.config import EngineConfig, encode_config
    from detection.engine.events import Event
    from detection.journal import Journal

    class Row:
        def __init__(self, arrival: int, key: tuple[int, str]) -> None:
            self.arrival, self.key = arrival, key

    chance = random.Random(1)
    journal = Journal()
    start = now_ms() - seconds * 1000
    journal.write_config(encode_config(EngineConfig()), start)
    rows, groups = [], []
    for n in range(seconds * rate // BATCH):
        at = start + n * BATCH * 1000 // rate
        user = f"visitor-{chance.randrange(visitors)}"
        events = []
        for m in range(BATCH):
            action = chance.choice(ACTIONS)
            kept = {"duration_ms": "12000"} if action == "idle" else {"target": "button.buy"}
            events.append(
                Event(1, user, action, chance.choice(PAGES), at + m, f"view{n % 9}", kept)
            )
        rows.append(Row(at, (1, f"batch-{n:016d}")))
        groups.append([events])
        if len(rows) == 1_000:
            journal.write(groups, rows)  # type: ignore[arg-type]
            rows, groups = [], []
    journal.write(groups, rows)  # type: ignore[arg-type]
    return seconds * rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--rate", type=int, default=1_000, help="events a second")
    parser.add_argument("--visitors", type=int, default=1_000)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="recovery-"))
    os.environ["DATABASE_URL"] = f"sqlite:///{folder / 'db.sqlite3'}"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "behaviourlens.settings")
    import django

    django.setup()
    from django.db import connection

    from tests.server import Server

    server = Server(folder)
    events = fill(options.seconds, options.rate, options.visitors)
    connection.close()
    print(f"{events:,} events in the journal, {options.visitors:,} visitors")
    for name in ("the journal alone", "its snapshot"):
        began = time.monotonic()
        server.start()
        server.wait_for("/ready", lambda said: said["status"] == "ready", timeout=120)
        took = time.monotonic() - began
        said = re.findall(r"Recovered from .*", server.log.read_text())[-1]
        server.stop(timeout=60)
        print(f"from {name:<18} ready {took:5.2f} s after its start.  {said}")


if __name__ == "__main__":
    main()
