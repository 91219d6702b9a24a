"""The checks of who is let in: silent where a server is set up well, clear where it is not."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.checks import run_checks

from detection import checks, exposure
from detection.models import DEFAULT_SITE_ID, Site
from tests.public import HOST, KEY
from tests.server import ROOT, environment

pytestmark = pytest.mark.django_db(transaction=True)
REAL = {"DEBUG": "off", "SECRET_KEY": KEY, "ALLOWED_HOSTS": HOST, "BL_RATE_LIMIT": ""}


@pytest.fixture
def public(settings: Any) -> Any:
    """A server on the internet that is set up well."""
    settings.DEBUG = False
    settings.SECRET_KEY = KEY
    settings.ALLOWED_HOSTS = [HOST]
    Site.objects.get_or_create(pk=DEFAULT_SITE_ID, defaults={"name": "Default site"})
    User.objects.create_superuser("operator")
    return settings


def found(databases: list[str] | None = None) -> dict[str, Any]:
    messages = run_checks(databases=databases or ["default"])
    return {str(m.id): m for m in messages if str(m.id).startswith("detection.")}


def check(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """`manage.py check …` in a process of its own."""
    return subprocess.run(
        [sys.executable, "manage.py", "check", *arguments],
        cwd=ROOT,
        env=environment(Path("unused.sqlite3"), **extra),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_server_that_is_set_up_well_is_told_nothing(public: Any) -> None:
    assert found() == {}


def test_check_deploy_has_no_warning_under_a_real_key() -> None:
    done = check("--deploy", "--fail-level", "WARNING", **REAL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues" in done.stdout


@pytest.mark.parametrize(
    ("extra", "number"),
    [
        ({"DEBUG": "on"}, "W005"),
        ({"BL_INSECURE_HTTP": "on"}, "W006"),
        ({"BL_RATE_LIMIT": "off"}, "W007"),
        ({"BL_API_ORIGINS": "*"}, "W008"),
        ({"SECRET_KEY": "short"}, "W009"),
        ({"ALLOWED_HOSTS": "*"}, "W010"),
    ],
)
def test_a_plain_check_tells_of_each_dangerous_setting(extra: dict[str, str], number: str) -> None:
    done = check(**(REAL | extra))
    assert done.returncode == 0
    assert set(re.findall(r"detection\.(W\d+)", done.stderr)) == {number}
    assert "HINT" in done.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.9.1", "a.localhost"])
def test_debug_is_for_this_machine(public: Any, host: str) -> None:
    public.DEBUG = True
    public.ALLOWED_HOSTS = [host]
    assert found() == {}


@pytest.mark.parametrize("host", [HOST, "*", "192.168.1.7", "0.0.0.0", "[2001:db8::1]"])
def test_debug_under_a_name_that_others_reach(public: Any, host: str) -> None:
    public.DEBUG = True
    public.ALLOWED_HOSTS = ["127.0.0.1", host]
    message = found()["detection.W005"]
    assert message.msg.endswith(f": {host}.")
    assert "DEBUG=off" in message.hint


@pytest.mark.parametrize("key", ["k" * 60, "django-insecure-" + KEY, KEY[:49]])
def test_a_key_that_can_be_guessed(public: Any, key: str) -> None:
    public.SECRET_KEY = key
    message = found()["detection.W009"]
    assert key not in message.msg + message.hint
    public.SECRET_KEY = KEY[:50]
    assert found() == {}


def test_nothing_of_it_matters_on_this_machine(public: Any) -> None:
    public.DEBUG = True
    public.ALLOWED_HOSTS = ["127.0.0.1"]
    public.BL_INSECURE_HTTP = True
    public.BL_RATE_LIMIT = None
    public.BL_API_ORIGINS = ["*"]
    public.SECRET_KEY = "short"
    Site.objects.update(allowed_origins="*")
    User.objects.all().delete()
    assert found() == {}


def test_a_site_for_any_origin_is_named(public: Any) -> None:
    Site.objects.create(name="Shop", allowed_origins="https://shop.example\n*")
    Site.objects.create(name="Blog", allowed_origins="https://*.blog.example")
    message = found()["detection.W011"]
    assert message.msg.endswith(": Shop.")
    assert "origins in the admin" in message.hint


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_superuser": False}])
def test_somebody_has_to_be_able_to_enter(public: Any, change: dict[str, bool]) -> None:
    User.objects.update(**change)
    assert "createsuperuser" in found()["detection.W012"].hint


def test_no_database_is_asked_unless_it_is_named(public: Any) -> None:
    User.objects.all().delete()
    Site.objects.update(allowed_origins="*")
    ours = [m for m in run_checks() if str(m.id).startswith("detection.")]
    assert ours == []
    assert set(found()) == {"detection.W011", "detection.W012"}


def test_a_database_without_tables_is_no_trouble(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    done = check("--database", "default", **(REAL | {"DATABASE_URL": url}))
    assert done.returncode == 0, done.stderr
    assert "detection." not in done.stderr


def test_every_check_is_in_the_table_and_no_other() -> None:
    guide = (ROOT / "docs/security.md").read_text()
    told = set(re.findall(r"^\| `detection\.(W\d+)` \|", guide, re.MULTILINE))
    source = "".join(Path(str(module.__file__)).read_text() for module in (checks, exposure))
    assert told == set(re.findall(r'id="detection\.(W\d+)"', source))
