"""Fixtures of the whole suite."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from hypothesis import settings as hypothesis_settings

from detection.models import DEFAULT_SITE_ID, Site
from tests import postgres as pg
from tests.server import Server, manage

# The same examples on every run, and as long as they need: other work shares the machine.
hypothesis_settings.register_profile("behaviourlens", derandomize=True, deadline=None)
hypothesis_settings.load_profile("behaviourlens")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Give SQLite a file, so that threads of a test meet it as they do in life."""
    database: dict[str, Any] = settings.DATABASES["default"]
    if database["ENGINE"] == "django.db.backends.sqlite3":
        file = tmp_path_factory.mktemp("database") / "test.sqlite3"
        database.setdefault("TEST", {})["NAME"] = str(file)


@pytest.fixture
def site(transactional_db: None) -> Site:
    """The default site, in a database that other threads see; empty but for it."""
    return Site.objects.get_or_create(pk=DEFAULT_SITE_ID, defaults={"name": "Default site"})[0]


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


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Server]:
    """A real server that the tests of a module share; each uses visitors of its own."""
    with Server(tmp_path_factory.mktemp("server"), migrated) as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[pg.Postgres]:
    """A real PostgreSQL, empty; skips where it is missing and not required."""
    pg.demand()
    with pg.Postgres() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres_template(postgres: pg.Postgres) -> str:
    """The name of a migrated database in `postgres`, for `postgres.database(template=…)`."""
    name = "migrated"
    manage(postgres.database(name), "migrate", "--verbosity", "0")
    return name


@pytest.fixture
def postgres_url(postgres: pg.Postgres, postgres_template: str) -> str:
    """The DATABASE_URL of a migrated database of this test's own."""
    return postgres.database(template=postgres_template)
