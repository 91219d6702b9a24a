"""Patterns and their changes in the database: how each step is written.

Storing is monotone. What the engine says again changes nothing: a severity never falls,
and a person's resolution or note is touched only by a step that is really new. Every step
takes the next sequence of its site, inside the transaction that writes it, so the sequence
has no gap and is in commit order on every database.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import F

from detection.clock import to_datetime, to_ms
from detection.engine.patterns import Change, ChangeKind, Identified
from detection.models import Pattern, PatternChange, Site

# A loop's place may name two hundred long pages; the whole of it is in the id already.
MAX_PLACE = 2048
# What a step may alter in a pattern that is there already.
_STATE_FIELDS = (
    "identified",
    "severity",
    "explanation",
    "evidence",
    "updated_at",
    "resolved_at",
    "resolved_by",
    "recovered_at",
    "search_text",
)


def apply(news: Iterable[Change | Identified]) -> int:
    """Store what the engine said, in order; returns how many steps were new."""
    changes: dict[int, list[Change]] = defaultdict(list)
    names: dict[int, list[Identified]] = defaultdict(list)
    for item in news:
        if isinstance(item, Change):
            changes[item.pattern.site].append(item)
        else:
            names[item.site].append(item)
    steps = 0
    with transaction.atomic():
        for site in sorted(changes.keys() | names.keys()):
            if lock(site):
                steps += _apply_to_site(site, changes[site]) + _identify(site, names[site])
    return steps


def _identify(site: int, names: Sequence[Identified]) -> int:
    """Put the known ids on those of these visitors' patterns that have none.

    Each gets the first that was told after it was detected, so that neither telling it again nor
    telling several at a time changes anything. Once each: what was detected of one known person
    does not become another's, and a visitor who changes names without end does not rewrite their
    past without end.
    """
    if not names:
        return 0
    users = {who.user_id for who in names}
    rows: list[Pattern] = []
    steps = []
    for row in Pattern.objects.filter(site_id=site, user_id__in=users, identified=""):
        detected = to_ms(row.detected_at)
        told = (who for who in names if who.user_id == row.user_id and who.at >= detected)
        who = next(told, None)
        if who is None:
            continue
        rows.append(row)
        at = to_datetime(who.at)
        row.identified = who.identified
        row.updated_at = max(row.updated_at, at)
        row.set_search_text()
        steps.append(step(row, ChangeKind.IDENTIFIED, at))
    Pattern.objects.bulk_update(rows, ["identified", "updated_at", "search_text"])
    append(site, steps)
    return len(steps)


def lock(site: int) -> bool:
    """Put writers of one site in line until the transaction ends; False if it is gone.

    Always taken first, so that all take their locks in one order.
    """
    return bool(Site.objects.filter(pk=site).update(last_change=F("last_change")))


def _apply_to_site(site: int, changes: Sequence[Change]) -> int:
    if not changes:
        return 0
    known = Pattern.objects.in_bulk({change.pattern.pattern_id for change in changes})
    created: dict[str, Pattern] = {}
    touched: dict[str, Pattern] = {}
    steps: list[PatternChange] = []
    for change in changes:
        pattern_id = change.pattern.pattern_id
        row = known.get(pattern_id)
        if row is None:
            row = known[pattern_id] = created[pattern_id] = _new_row(change)
            _advance(row, change)  # a recovery may be the first that the store hears of it
        elif _advance(row, change):
            touched[pattern_id] = row
        else:
            continue
        steps.append(step(row, change.kind, to_datetime(change.at)))
    Pattern.objects.bulk_create(created.values())
    Pattern.objects.bulk_update(
        [row for key, row in touched.items() if key not in created], _STATE_FIELDS
    )
    append(site, steps, created=len(created))
    return len(steps)


def _new_row(change: Change) -> Pattern:
    pattern = change.pattern
    row = Pattern(
        pattern_id=pattern.pattern_id,
        site_id=pattern.site,
        user_id=pattern.user_id,
        identified=pattern.identified,
        type=pattern.type,
        place=pattern.place[:MAX_PLACE],
        page=pattern.page,
        severity=pattern.severity.value,
        explanation=pattern.explanation,
        evidence=pattern.evidence,
        detected_at=to_datetime(pattern.detected_at),
        updated_at=to_datetime(change.at),
    )
    row.set_search_text()
    return row


def _advance(row: Pattern, change: Change) -> bool:
    """Take `change` into `row` if it is news; says whether it was."""
    pattern = change.pattern
    at = to_datetime(change.at)
    if change.kind is ChangeKind.RECOVERED:
        if row.recovered:
            return False
        row.recovered_at = at
        row.resolved_at = row.resolved_at or at
    elif pattern.severity.value > row.severity:
        row.severity = pattern.severity.value
        row.resolved_at = None
        row.resolved_by = ""
    else:
        return False
    row.identified = pattern.identified or row.identified
    row.explanation = pattern.explanation
    row.evidence = pattern.evidence
    row.updated_at = at
    row.set_search_text()
    return True


def step(row: Pattern, kind: ChangeKind, at: datetime, actor: str = "") -> PatternChange:
    """The pattern as `row` holds it now, as a step to be appended."""
    return PatternChange(
        site_id=row.site_id,
        pattern_id=row.pattern_id,
        kind=kind.value,
        at=at,
        severity=row.severity,
        explanation=row.explanation,
        resolved_at=row.resolved_at,
        resolved_by=row.resolved_by,
        recovered_at=row.recovered_at,
        actor=actor,
    )


def append(site: int, steps: Sequence[PatternChange], created: int = 0) -> None:
    """Give the steps the next sequences of the site and write them (inside a transaction)."""
    if not steps:
        return
    Site.objects.filter(pk=site).update(
        last_change=F("last_change") + len(steps),
        patterns_detected=F("patterns_detected") + created,
    )
    last = Site.objects.values_list("last_change", flat=True).get(pk=site)
    for sequence, step in enumerate(steps, start=last - len(steps) + 1):
        step.sequence = sequence
    PatternChange.objects.bulk_create(steps)
