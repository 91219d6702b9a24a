"""README and docs say what is so: their commands run, their definitions are the code's."""

import ast
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from django.conf import settings

from detection.engine.config import EngineConfig
from detection.engine.events import ACTIONS
from detection.rest import api
from tests.server import Server, environment, free_port

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def command_starting(words: str) -> str:
    found = [line for block in blocks(README, "sh") for line in block.splitlines()]
    return next(line for line in found if line.startswith(words))


def test_make_run_in_a_fresh_clone(tmp_path: Path) -> None:
    """The first command of the README, where nothing has been set up."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    port = free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    for name in ("DATABASE_URL", "SECRET_KEY", "VIRTUAL_ENV", "DJANGO_SETTINGS_MODULE"):
        env.pop(name, None)
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*shlex.split(command_starting("make run")), f"PORT={port}"],
            cwd=clone,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        said = wait_until_served(process, port, log)
        for address in ("/demo", "/", "/admin/"):
            assert f"http://127.0.0.1:{port}{address}\n" in said
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{address}", timeout=20) as page:
                assert page.status == 200
        assert re.search(r"password: \S{12,}", said)
        assert "AI explanations" in said
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
    assert not list((clone / "var").glob("*password*"))


def wait_until_served(process: subprocess.Popen[bytes], port: int, log: Path) -> str:
    deadline = time.monotonic() + 170
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
        except OSError:
            time.sleep(0.3)
        else:
            return log.read_text()
    raise AssertionError(f"`make run` did not serve:\n{log.read_text()}")


def test_make_test_runs_these_tests() -> None:
    make = shutil.which("make")
    assert make
    planned = subprocess.run(
        [make, "--dry-run", *shlex.split(command_starting("make test"))[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "python -m pytest" in planned.stdout


def test_the_curl_commands_and_the_simulator(server: Server) -> None:
    curl = shutil.which("curl")
    if curl is not None:
        words = shlex.split(command_starting("curl http"))
        words = [word.replace("http://127.0.0.1:8000", server.url) for word in words]
        said = subprocess.run([*words, "-s"], capture_output=True, text=True, check=True)
        assert json.loads(said.stdout) == {"status": "accepted"}
    simulate = shlex.split(command_starting(".venv/bin/python manage.py simulate"))[1:]
    simulate[simulate.index("--duration") + 1] = "2s"
    run = subprocess.run(
        [sys.executable, *simulate, "--url", server.url],
        cwd=ROOT,
        env=environment(server.database),
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert server.get("/api/stats")["total_events"] > 1


def test_every_setting_of_the_environment_is_in_the_readme() -> None:
    read = {"PORT", "DATABASE_URL", "DEBUG", "SECRET_KEY", "ALLOWED_HOSTS"}
    read |= set(re.findall(r'"(BL_[A-Z_]+)"', (ROOT / "behaviourlens/settings.py").read_text()))
    told = set(re.findall(r"^\| `([A-Z_]+)` \|", README, re.MULTILINE))
    assert told == read


@pytest.mark.parametrize("document", [*sorted(ROOT.glob("docs/**/*.md")), ROOT / "README.md"])
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("rule", ["hesitation", "navigation_loop", "abandonment"])
def test_definitions_are_the_rules_docstrings(rule: str) -> None:
    source = (ROOT / f"detection/engine/rules/{rule}.py").read_text()
    definition = ast.get_docstring(ast.parse(source))
    assert definition
    assert definition in (ROOT / "docs/patterns.md").read_text()


def test_numbers_of_the_patterns_are_the_engines() -> None:
    text = (ROOT / "docs/patterns.md").read_text()
    told = {
        name: int(value.replace(",", ""))
        for name, value in re.findall(r"^\| `(\w+)` \| ([\d,]+)", text, re.MULTILINE)
    }
    config = EngineConfig()
    funnel = config.abandonment.funnels[0]
    used = {
        name: getattr(part, name)
        for part in (config.hesitation, config.loop, funnel)
        for name in part.__dataclass_fields__
        if isinstance(getattr(part, name), int) and name != "site"
    }
    assert told == used
    assert " → ".join(f"`{step}`" for step in funnel.steps) in text
    assert settings.BL_LEAVE_GRACE * 1000 == funnel.leave_grace_ms  # noqa: SIM300


def test_every_action_is_in_the_wire_format() -> None:
    text = (ROOT / "docs/wire-format.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| `action`"))
    assert set(re.findall(r"`(\w+)`", row)) - {"action"} == ACTIONS


def test_every_path_of_the_api_is_told() -> None:
    text = (ROOT / "docs/api.md").read_text()
    for path in api.get_openapi_schema()["paths"]:
        assert path.replace("path:", "") in text.replace("/events?user_id=", "/events"), path
