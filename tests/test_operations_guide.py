"""docs/operations.md names each metric, each check and each setting there is, and no other."""

import ast
import re
from collections.abc import Iterator

from tests import events
from tests.server import ROOT, Server
from tests.test_metrics import wait_for

GUIDE = (ROOT / "docs/operations.md").read_text()


def test_the_guide_names_every_metric_and_no_other(server: Server) -> None:
    server.post(events.abandonment(events.visitor()))
    scrape = wait_for(
        server,
        lambda told: told("journal_bytes") is not None and told("visitors") == 1,
    )
    printed = {name for name in scrape.all if name.startswith("behaviourlens_")}
    printed |= {family for family in declared(server) if family.startswith("behaviourlens_")}
    named = set(re.findall(r"`(behaviourlens_\w+)", GUIDE))
    asked = set(re.findall(r"behaviourlens_\w+", GUIDE))
    assert named == printed
    assert asked <= printed


def declared(server: Server) -> set[str]:
    """Names of metrics that are announced, also where they have no sample yet."""
    text = server.request("GET", "/metrics")[2].decode()
    return set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))


def test_the_guide_names_every_check() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", section("What /ready checks"), re.MULTILINE))
    assert named == {"recovered", "owner", "database", "queue"}


def section(title: str) -> str:
    return GUIDE.split(f"## {title}\n")[1].split("\n## ")[0]


def test_every_setting_is_told_with_its_default() -> None:
    rows = r"^\| `(BL_[A-Z_]+)` \| (?:`([^`]*)`|none) \|"
    told: dict[str, str] = {}
    for document in ((ROOT / "README.md").read_text(), GUIDE):
        for name, default in re.findall(rows, document, re.MULTILINE):
            assert told.setdefault(name, default) == default, f"two defaults for {name}"
    assert told == dict(settings_read())


def settings_read() -> Iterator[tuple[str, str]]:
    """Each BL_ name that settings.py reads, and the default as it would be written."""
    for call in ast.walk(ast.parse((ROOT / "behaviourlens/settings.py").read_text())):
        if not isinstance(call, ast.Call):
            continue
        given = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
        if given and isinstance(given[0], str) and given[0].startswith("BL_"):
            default = given[1] if len(given) > 1 else ""
            if isinstance(default, bool):
                default = "on" if default else "off"
            yield given[0], str(default)
