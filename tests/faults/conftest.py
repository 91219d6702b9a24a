"""Faults on purpose: what they need, and the table of what came of them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.hurried import Hurried
from tests.faults.ledger import Ledger
from tests.traffic import Traffic

_COLUMNS = ("fault", "times", "accepted", "lost", "doubled", "patterns", "recovery ms")
_rows: list[dict[str, Any]] = []

Record = Callable[..., None]
MakeServer = Callable[..., Hurried]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture
def record() -> Record:
    """Adds a row to the table of faults, which is printed when all tests have run."""

    def add(
        fault: str, times: int, ledger: Ledger, traffic: Traffic, recovery_s: list[float]
    ) -> None:
        _rows.append(
            {
                "fault": fault,
                "times": times,
                "accepted": len(traffic.accepted),
                "lost": len(ledger.lost),
                "doubled": len(ledger.doubled),
                "patterns": len(ledger.reference.patterns()),
                "recovery ms": _range(recovery_s),
            }
        )

    return add


@pytest.fixture(params=["sqlite", "postgres"])
def make_server(request: pytest.FixtureRequest, tmp_path: Path, migrated: Path) -> MakeServer:
    """Makes a server with a migrated database of the test's own, on SQLite and on PostgreSQL."""

    def make(**extra: str) -> Hurried:
        if request.param == "sqlite":
            return Hurried(tmp_path, migrated, **extra)
        url = request.getfixturevalue("postgres_url")
        return Hurried(tmp_path, None, database_url=url, **extra)

    return make


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table; and as JSON, a row a line, where BL_FAULT_TABLE names a file."""
    if not _rows:
        return
    terminalreporter.section("faults")
    lines = [_COLUMNS, *(tuple(str(row[name]) for name in _COLUMNS) for row in _rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        terminalreporter.write_line("  ".join(cells).rstrip())
    if file := os.environ.get("BL_FAULT_TABLE"):
        with Path(file).open("a") as out:
            out.writelines(json.dumps(row) + "\n" for row in _rows)


def _range(seconds: list[float]) -> str:
    """Median and longest, in ms."""
    if not seconds:
        return ""
    ordered = sorted(round(s * 1000) for s in seconds)
    return f"{ordered[len(ordered) // 2]} (at most {ordered[-1]})"
