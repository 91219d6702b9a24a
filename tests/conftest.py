"""Fixtures of the whole suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import Server, manage


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database that servers start from."""
    database = tmp_path_factory.mktemp("migrated") / "db.sqlite3"
    manage(database, "migrate", "--verbosity", "0")
    return database


@pytest.fixture
def server(tmp_path: Path, migrated: Path) -> Iterator[Server]:
    """A real server with an empty, migrated database."""
    with Server(tmp_path, migrated) as running:
        yield running
