"""Puts the shipped catalogue (fixtures/verse.json) into the database, through migrations.

`manage.py loaddata verse` does the same with today's models and resets what was edited;
this adds only what is missing, so an upgrade leaves a changed price or text alone.
"""

import json
from pathlib import Path
from typing import Any

from django.apps.registry import Apps

FIXTURE = Path(__file__).parent / "fixtures" / "verse.json"


def add_missing(apps: Apps) -> int:
    """Create the shipped objects that are not there yet; how many were created.

    Works on the models as a migration knows them: fields that they do not have (yet)
    are passed over.
    """
    found: dict[tuple[str, tuple[str, ...]], Any] = {}
    created_count = 0
    for entry in json.loads(FIXTURE.read_text(encoding="utf-8")):
        label = entry["model"]
        model = apps.get_model(label)
        known = {field.name for field in model._meta.get_fields()}
        fields = {name: value for name, value in entry["fields"].items() if name in known}
        for parent in ("category", "product"):
            if parent in fields:
                fields[parent] = found[f"demo_store.{parent}", tuple(fields[parent])]
        key = _key(label, fields)
        instance, created = model._default_manager.get_or_create(**key, defaults=fields)
        found[label, tuple(str(value) for value in key.values())] = instance
        created_count += created
    return created_count


def _key(label: str, fields: dict[str, Any]) -> dict[str, Any]:
    """What makes an object the same one."""
    names = ("product", "kind", "label") if label == "demo_store.choice" else ("slug",)
    return {name: fields[name] for name in names}
