"""`python -m tests.faults.memory_curve [visitors] [seconds]`: the curve of what a server holds.

Distinct visitors (1,000,000) against a server with its default bounds, or those in the
environment's BL_MAX_MEMORY_MB, BL_MAX_VISITORS and BL_JOURNAL_MAX_MB; for at most so many seconds
(3,600). The database is in a temporary folder and needs a few GB.
"""

import os
import sys
import tempfile
from pathlib import Path

from tests.faults.memory import flood
from tests.server import Server

SAMPLES = 50
BOUNDS = ("BL_MAX_MEMORY_MB", "BL_MAX_VISITORS", "BL_JOURNAL_MAX_MB")


def main(visitors: int = 1_000_000, most_s: int = 3_600) -> None:
    bounds = {name: os.environ[name] for name in BOUNDS if name in os.environ}
    out = sys.stdout
    with (
        tempfile.TemporaryDirectory(prefix="behaviourlens-") as folder,
        Server(Path(folder), None, **bounds) as server,
    ):
        out.write(f"idle: {server.rss():.0f} MB\n")
        out.write("  visitors   seconds   RSS MB   held   windows MB    evicted   journal MB\n")
        for told in flood(server, visitors, min(SAMPLES, visitors)):
            out.write(
                f"{told.sent:>10,}{told.seconds:>10.0f}{told.rss:>9.0f}{told.visitors:>9,}"
                f"{told.held:>11.0f}{told.evicted:>11,}{told.journal:>13.0f}\n"
            )
            out.flush()
            if told.seconds > most_s:
                out.write("The time is over.\n")
                break


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
