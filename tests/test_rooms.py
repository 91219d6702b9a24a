"""The rooms of the house: who may import what, held by reading the imports."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import ROOT

ENGINE = ROOT / "detection" / "engine"
CLOCK = ROOT / "detection" / "clock.py"
OUTSIDE_TIME = {"time", "threading", "asyncio", "datetime", "socket", "subprocess", "os", "io"}


def files(*rooms: str) -> list[Path]:
    found = [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]
    assert found
    return found


def imports(path: Path) -> Iterator[str]:
    """The absolute dotted names that a file imports, wherever in it."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def shell() -> list[Path]:
    return [path for path in files("detection") if ENGINE not in path.parents]


def within(imported: str, room: str) -> bool:
    return imported == room or imported.startswith(f"{room}.")


@pytest.mark.parametrize("path", files("detection/engine"), ids=name)
def test_the_engine_needs_the_standard_library_and_msgspec(path: Path) -> None:
    for imported in imports(path):
        top = imported.partition(".")[0]
        own = within(imported, "detection.engine")
        assert own or top == "msgspec" or top in sys.stdlib_module_names, imported
        assert top not in OUTSIDE_TIME, f"{imported}: time and input are passed in"


@pytest.mark.parametrize("path", files("detection"), ids=name)
def test_detection_knows_neither_dashboard_nor_store(path: Path) -> None:
    for imported in imports(path):
        assert not within(imported, "dashboard"), imported
        assert not within(imported, "demo_store"), imported
        assert not within(imported, "behaviourlens"), imported


@pytest.mark.parametrize("path", files("dashboard", "demo_store"), ids=name)
def test_the_other_apps_know_detections_public_face_alone(path: Path) -> None:
    for imported in imports(path):
        if within(imported, "detection"):
            assert within(imported, "detection.api"), imported


@pytest.mark.parametrize("path", files("dashboard", "demo_store"), ids=name)
def test_dashboard_and_store_do_not_know_each_other(path: Path) -> None:
    other = "demo_store" if path.relative_to(ROOT).parts[0] == "dashboard" else "dashboard"
    assert not [imported for imported in imports(path) if within(imported, other)]
    assert not [imported for imported in imports(path) if within(imported, "behaviourlens")]


@pytest.mark.parametrize("path", shell(), ids=name)
def test_one_module_of_the_shell_reads_the_wall_clock(path: Path) -> None:
    if path == CLOCK:
        return
    forbidden = {"time.time", "time.time_ns", "django.utils.timezone.now", "django.utils.timezone"}
    assert not forbidden & set(imports(path))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            said = ast.unparse(node)
            assert said not in {"time.time", "time.time_ns", "timezone.now"}, said
            assert not said.endswith(("datetime.now", "datetime.utcnow", "date.today")), said


def test_importing_the_engine_loads_no_django() -> None:
    code = (
        "import sys, detection.engine.engine\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'django', 'asyncio', 'threading', 'ninja', 'channels'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(ast.literal_eval(done.stdout))
    assert not loaded & {"django", "ninja", "channels"}


def test_the_package_itself_is_empty() -> None:
    assert (ROOT / "detection" / "__init__.py").read_text() == ""
