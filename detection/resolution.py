"""What people do with patterns: resolve, reopen, note."""

from datetime import datetime

from django.apps import apps
from django.db import transaction

from detection import store
from detection.clock import now_ms, to_datetime
from detection.engine.patterns import ChangeKind
from detection.models import Pattern


def resolve(pattern_id: str, by: str = "", note: str | None = None) -> Pattern:
    """Mark a pattern resolved, if it is not; raises Pattern.DoesNotExist.

    Of two people who resolve at once one wins, and one step is written.
    """
    at = to_datetime(now_ms())
    return _by_a_person(
        pattern_id,
        ChangeKind.RESOLVED,
        at,
        by,
        note,
        where={"resolved_at": None},
        becomes={"resolved_at": at, "resolved_by": by[:150]},
    )


def reopen(pattern_id: str, by: str = "", note: str | None = None) -> Pattern:
    """Take back a resolution; a recovered pattern stays closed. Raises Pattern.DoesNotExist."""
    return _by_a_person(
        pattern_id,
        ChangeKind.REOPENED,
        to_datetime(now_ms()),
        by,
        note,
        where={"resolved_at__isnull": False, "recovered_at": None},
        becomes={"resolved_at": None, "resolved_by": ""},
    )


def _by_a_person(
    pattern_id: str,
    kind: ChangeKind,
    at: datetime,
    by: str,
    note: str | None,
    *,
    where: dict[str, object],
    becomes: dict[str, object],
) -> Pattern:
    site = Pattern.objects.values_list("site_id", flat=True).get(pk=pattern_id)
    with transaction.atomic():
        store.lock(site)
        if note is not None:
            Pattern.objects.filter(pk=pattern_id).update(note=note)
        won = Pattern.objects.filter(pk=pattern_id, **where).update(updated_at=at, **becomes)
        row = Pattern.objects.get(pk=pattern_id)
        if won:
            store.append(site, [store.step(row, kind, at, actor=by[:150])])
            transaction.on_commit(_tell)
    return row


def _tell() -> None:
    # Only hastens it: the publisher of whichever process serves looks by itself as well.
    apps.get_app_config("detection").runtime.outbox.nudge()  # type: ignore[attr-defined]
