"""The environment: what is read, and how a value that cannot be used is refused."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import ROOT, environment

DATABASE = Path("/nonexistent/never-opened.sqlite3")


def load(code: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Load the settings in a process of their own, then run `code`."""
    env = environment(DATABASE) | {"DATABASE_URL": ""} | variables
    return subprocess.run(
        [sys.executable, "-c", f"from behaviourlens import settings\n{code}"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )


def value(name: str, **variables: str) -> object:
    done = load(f"import json; print(json.dumps(settings.{name}, default=str))", **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("PORT", 8000),
        ("DEBUG", True),
        ("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"]),
        ("BL_API_ORIGINS", []),
        ("BL_QUEUE_EVENTS", 50_000),
        ("BL_LEAVE_GRACE", 30),
        ("LOG_LEVEL", "INFO"),
    ],
)
def test_nothing_has_to_be_set(name: str, default: object) -> None:
    assert value(name) == default


def test_the_database_is_sqlite_under_var_with_patient_writers() -> None:
    database = json.loads(json.dumps(value("DATABASES['default']")))
    assert database["ENGINE"] == "django.db.backends.sqlite3"
    assert Path(database["NAME"]) == ROOT / "var" / "behaviourlens.sqlite3"
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in database["OPTIONS"]["init_command"]
    assert database["OPTIONS"]["timeout"] > 5


@pytest.mark.parametrize(
    ("name", "text", "meant"),
    [
        ("PORT", "1", 1),
        ("PORT", "65535", 65535),
        ("PORT", "", 8000),
        ("PORT", "  ", 8000),
        ("DEBUG", "0", False),
        ("DEBUG", "false", False),
        ("DEBUG", "True", True),
        ("ALLOWED_HOSTS", "a.example,b.example", ["a.example", "b.example"]),
        ("BL_API_ORIGINS", "*", ["*"]),
        (
            "BL_API_ORIGINS",
            "https://a.example/, http://b.example:8080",
            ["https://a.example", "http://b.example:8080"],
        ),
        ("BL_QUEUE_EVENTS", "1", 1),
        ("BL_LEAVE_GRACE", "1799", 1799),
    ],
)
def test_what_is_set_is_used(name: str, text: str, meant: object) -> None:
    assert value(name, **({"ALLOWED_HOSTS": "x.example"} | {name: text})) == meant


def test_the_leave_grace_reaches_the_engine() -> None:
    code = (
        "import django; django.setup()\n"
        "from detection.runtime import engine_config\n"
        "print(engine_config().abandonment.funnels[0].leave_grace_ms)"
    )
    extra = {"DJANGO_SETTINGS_MODULE": "behaviourlens.settings", "BL_LEAVE_GRACE": "2"}
    done = load(code, **extra)
    assert done.stdout.strip() == "2000", done.stderr


def test_postgresql_is_known() -> None:
    url = "postgres://user:secret@db.example:5433/name"
    assert value("DATABASES['default']['ENGINE']", DATABASE_URL=url) == (
        "django.db.backends.postgresql"
    )


BAD = [
    ("PORT", "abc"),
    ("PORT", "0"),
    ("PORT", "-1"),
    ("PORT", "65536"),
    ("PORT", "80.5"),
    ("PORT", "8000\n9000"),
    ("DEBUG", "maybe"),
    ("DEBUG", "2"),
    ("BL_QUEUE_EVENTS", "0"),
    ("BL_QUEUE_EVENTS", "-5"),
    ("BL_QUEUE_EVENTS", "many"),
    ("BL_LEAVE_GRACE", "0"),
    ("BL_LEAVE_GRACE", "1800"),
    ("BL_LEAVE_GRACE", "30s"),
    ("BL_LOG_LEVEL", "LOUD"),
    ("BL_API_ORIGINS", "shop.example"),
    ("BL_API_ORIGINS", "ftp://shop.example"),
    ("BL_API_ORIGINS", "https://shop.example/path"),
    ("BL_API_ORIGINS", "https://shop.example?x=1"),
    ("BL_API_ORIGINS", "https://shop.example#x"),
    ("BL_API_ORIGINS", "https://user@shop.example"),
    ("BL_API_ORIGINS", "https://["),
    ("BL_API_ORIGINS", "https://shop.example:port"),
    ("BL_API_ORIGINS", "https://a.example,,"),
    ("DATABASE_URL", "nonsense"),
    ("DATABASE_URL", "mysql://user:secret@host/name"),
    ("DATABASE_URL", "oracle://user:secret@host/name"),
    ("DATABASE_URL", "mongodb://user:secret@host/name"),
    ("DATABASE_URL", "postgres://user:secret@host:port/name"),
    ("DATABASE_URL", "postgres://user:secret@host/"),
    ("DATABASE_URL", "sqlite://"),
    ("DATABASE_URL", "sqlite://:memory:"),
]


@pytest.mark.parametrize(("name", "text"), BAD)
def test_a_bad_value_stops_the_start_with_one_line(name: str, text: str) -> None:
    done = load(**{name: text})
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("BehaviourLens cannot start: ")
    assert name in line
    assert "secret" not in line, "a password does not belong in a log"


def test_a_folder_that_cannot_be_made_is_named() -> None:
    done = load(DATABASE_URL="sqlite:////proc/nowhere/db.sqlite3")
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("BehaviourLens cannot start: the folder of the SQLite database")


@pytest.mark.parametrize(
    ("missing", "variables"),
    [
        ("SECRET_KEY", {"SECRET_KEY": "", "ALLOWED_HOSTS": "x.example"}),
        ("ALLOWED_HOSTS", {"SECRET_KEY": "k" * 60}),
    ],
)
def test_with_debug_off_some_are_needed(missing: str, variables: dict[str, str]) -> None:
    done = load(DEBUG="0", **variables)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"BehaviourLens cannot start: {missing} is not set")


def test_a_bad_value_is_one_line_under_manage_as_well() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env=environment(DATABASE) | {"PORT": "abc"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("BehaviourLens cannot start: PORT='abc' cannot be used")


# --- the local secret key --------------------------------------------------------------------

MAKE_KEY = (
    "import sys, pathlib; from behaviourlens.environment import secret_key;"
    "print(secret_key(True, pathlib.Path(sys.argv[1])))"
)


def test_the_local_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    """Eight processes start at once; all of them get the one key."""
    keyfile = tmp_path / "var" / "secret_key"
    env = {name: value for name, value in os.environ.items() if name != "SECRET_KEY"}
    starting = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE_KEY, str(keyfile)],
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    keys = {process.communicate(timeout=60)[0].strip() for process in starting}
    assert {process.returncode for process in starting} == {0}
    assert keys == {keyfile.read_text().strip()}
    assert len(keys.pop()) >= 50
    assert stat.S_IMODE(keyfile.stat().st_mode) == 0o600
    assert list(keyfile.parent.iterdir()) == [keyfile], "and no draft is left"


def test_a_key_file_that_is_empty_is_no_key(tmp_path: Path) -> None:
    keyfile = tmp_path / "secret_key"
    keyfile.touch()
    env = {name: value for name, value in os.environ.items() if name != "SECRET_KEY"}
    done = subprocess.run(
        [sys.executable, "-c", MAKE_KEY, str(keyfile)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("BehaviourLens cannot start: ")
    assert str(keyfile) in line
