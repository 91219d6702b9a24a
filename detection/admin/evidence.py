"""A pattern's evidence as rows that a person can read.

Evidence is JSON that may be years old, so nothing in it is taken for granted.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from detection.admin.looks import moment, plain
from detection.clock import to_datetime, to_ms
from detection.models import Pattern


@dataclass(frozen=True, slots=True)
class Row:
    """One event. when: in UTC with ms. relative: seconds from the detection, signed."""

    when: str
    relative: str
    action: str
    page: str
    details: list[tuple[str, str]]


def facts(pattern: Pattern) -> list[tuple[str, str]]:
    """The numbers behind the explanation as label and words.

    `idle` and `idle_ms` say the same thing twice; they become one line.
    """
    found = _part(pattern, "facts", dict)
    lines = []
    for name, value in found.items():
        if name.endswith("_ms"):
            if name.removesuffix("_ms") not in found:
                lines.append((plain(name.removesuffix("_ms")), _milliseconds(value)))
            continue
        words = _words(name, value)
        if f"{name}_ms" in found:
            words = f"{words} ({_milliseconds(found[f'{name}_ms'])})"
        lines.append((plain(name), words))
    return lines


def rows(pattern: Pattern) -> list[Row]:
    """The events of the evidence, oldest first."""
    detected = to_ms(pattern.detected_at)
    events = _part(pattern, "events", list)
    return [_row(event, detected) for event in events if isinstance(event, dict)]


def _part(pattern: Pattern, name: str, shape: type) -> Any:
    evidence = pattern.evidence
    part = evidence.get(name) if isinstance(evidence, dict) else None
    return part if isinstance(part, shape) else shape()


def _row(event: dict[str, Any], detected: int) -> Row:
    timestamp = event.get("timestamp")
    at = _datetime(timestamp)
    metadata = event.get("metadata")
    return Row(
        when=moment(at, exact=True),
        relative=_relative(timestamp - detected) if at and isinstance(timestamp, int) else "",
        action=plain(str(event.get("action", ""))),
        page=str(event.get("page", "")),
        details=[(plain(str(key)), str(value)) for key, value in metadata.items()]
        if isinstance(metadata, dict)
        else [],
    )


def _relative(ms: int) -> str:
    sign = "−" if ms < 0 else "+"
    return f"{sign}{abs(ms) / 1000:,.3f} s"


def _words(name: str, value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        at = _datetime(value) if name.endswith(("_since", "_at")) else None
        return f"{at:%-d %b %Y, %H:%M:%S}.{at.microsecond // 1000:03} UTC" if at else f"{value:,}"
    return "—" if value is None or value == "" else str(value)


def _milliseconds(value: object) -> str:
    return f"{value:,} ms" if isinstance(value, int) else str(value)


def _datetime(ms: object) -> datetime | None:
    if not isinstance(ms, int):
        return None
    try:
        return to_datetime(ms)
    except OverflowError:
        return None
