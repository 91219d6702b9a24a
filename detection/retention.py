"""Retention: what is past its time goes, a little at a time.

- The journal: rows older than BL_JOURNAL_RETENTION days, and the oldest while all of it is larger
  than BL_JOURNAL_MAX_MB (detection/journal_bounds.py).
- Snapshots: all but the two newest whole ones. One that was not finished goes when a whole one has
  followed it, or after a day.
- Patterns, with their changes: BL_RETENTION days after their last change. The counts of a site
  stay, and so no id on a stream comes twice.
- Sessions of people who are no longer logged in.

What is exactly as old as its bound goes: the same half-open window as everywhere.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Q

from detection import store
from detection.clock import to_datetime
from detection.journal_bounds import DAY_MS, WHOLE_SNAPSHOTS, JournalBounds
from detection.models import Pattern, Snapshot, SnapshotPart

MB: Final = 1_000_000
PATTERNS: Final = 40  # at most, in one step; with their evidence some have 40 kB
SESSIONS: Final = 200


class Retention:
    """For one thread of the process that owns the engine; its settings are read once.

    writing: the key of the snapshot that is being written, which is left alone.
    """

    def __init__(self) -> None:
        self.writing: int | None = None
        self._journal = JournalBounds(
            settings.BL_JOURNAL_RETENTION * DAY_MS, settings.BL_JOURNAL_MAX_MB * MB
        )
        self._keep_ms = settings.BL_RETENTION * DAY_MS
        self._sessions_at = 0
        self._round: deque[Callable[[int], bool]] = deque()

    @property
    def journal_bytes(self) -> int | None:
        """What the journal takes up in the database, about; None until it has been counted."""
        return self._journal.bytes

    def step(self, now_ms: int) -> bool:
        """Do one small piece of work; True while there is more to do or to look for.

        At most one short transaction, so that whoever else writes waits some ms at most. Raises
        what the database raises; then the next step turns to something else.
        """
        if not self._round:
            self._round.extend(
                (
                    self._journal.count,
                    self._journal.prune,
                    self._prune_snapshots,
                    self._prune_patterns,
                    self._prune_sessions,
                )
            )
        task = self._round.popleft()
        if task(now_ms):
            self._round.append(task)
        return bool(self._round)

    def _prune_snapshots(self, now_ms: int) -> bool:
        """A part may be megabytes, so one at a time, and then the snapshot itself."""
        newest = Snapshot.objects.exclude(digest="").order_by("-pk").values_list("pk", flat=True)
        whole = list(newest[:WHOLE_SNAPSHOTS])
        unfinished = Q(taken_at__lte=to_datetime(now_ms - DAY_MS))
        if whole:
            unfinished |= Q(pk__lt=whole[0])
        gone = Q(digest="") & unfinished
        if len(whole) == WHOLE_SNAPSHOTS:
            gone |= Q(pk__lt=whole[-1])
        found = Snapshot.objects.filter(gone).exclude(pk=self.writing or 0).order_by("pk").first()
        if found is None:
            return False
        parts = SnapshotPart.objects.filter(snapshot=found).order_by("number")
        part = parts.values_list("pk", flat=True).first()
        if part is None:
            found.delete()
            return True
        with transaction.atomic():
            if found.digest:  # no longer whole, before it no longer is
                Snapshot.objects.filter(pk=found.pk).update(digest="")
            SnapshotPart.objects.filter(pk=part).delete()
        return True

    def _prune_patterns(self, now_ms: int) -> bool:
        old = Pattern.objects.filter(updated_at__lte=to_datetime(now_ms - self._keep_ms))
        found = list(old.order_by("updated_at").values_list("pk", "site_id")[:PATTERNS])
        if not found:
            return False
        with transaction.atomic():
            for site in sorted({site for _, site in found}):
                store.lock(site)
            # Asked again, now that nobody changes them: somebody may have a moment ago.
            old.filter(pk__in=[pk for pk, _ in found]).only("pk").delete()
        return len(found) == PATTERNS

    def _prune_sessions(self, now_ms: int) -> bool:
        """Once a day."""
        if now_ms < self._sessions_at:
            return False
        expired = Session.objects.filter(expire_date__lte=to_datetime(now_ms))
        keys = list(expired.order_by("expire_date").values_list("pk", flat=True)[:SESSIONS])
        Session.objects.filter(pk__in=keys).delete()
        if len(keys) == SESSIONS:
            return True
        self._sessions_at = now_ms + DAY_MS
        return False
