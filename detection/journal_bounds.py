"""The journal within its bounds: how large it is, and which of its rows go.

Positions only grow, and rows go from the oldest on. So the journal is counted and pruned by
walking along its primary key, and no step costs more because the table is large.
"""

from typing import Final

from django.db import Error
from django.db.models import Count, Max, Sum

from detection.models import JournalEntry, Site, Snapshot

DAY_MS: Final = 86_400_000
# What a row takes up beside its body, with its indexes. Measured with visitors' ids of 22 to 36
# characters: 150 to 200 on SQLite, 260 to 330 on PostgreSQL.
ROW_BYTES: Final = 300
# At most in one step; a row's body may be a megabyte.
COUNTED_ROWS: Final = 2_000
PRUNED_ROWS: Final = 200
PRUNED_BYTES: Final = 4_000_000
# So many are kept, because recovery goes back to the second where it cannot read the first.
WHOLE_SNAPSHOTS: Final = 2
# A journal that nobody looked after for so long may have been another process's meanwhile, ms.
PAUSE_MS: Final = 60_000


class JournalBounds:
    """keep_ms: how long a row is kept. most_bytes: how large the journal may be.

    What recovery may need is kept in any case: all that follows the snapshot before the newest, and
    everything while there is no whole snapshot.
    """

    def __init__(self, keep_ms: int, most_bytes: int) -> None:
        self._keep_ms = keep_ms
        self._most_bytes = most_bytes
        self._known: int | None = None  # as it was when all had been counted last
        self._bytes = 0  # of the rows up to `_counted`
        self._counted = 0  # a position
        self._whole = False  # no row is left to count, but for the newest
        self._pruned = 0  # up to this position all has gone
        self._sites: set[int] = set()
        self._began = 0  # the count, epoch ms
        self._looked = 0  # when `count` was called last, epoch ms

    @property
    def bytes(self) -> int | None:
        """About what the journal takes up; None until all of it has been counted once."""
        return self._known

    def count(self, now_ms: int) -> bool:
        """Count the rows that follow those counted; True while there may be more."""
        self._recount_if_due(now_ms)
        newer = JournalEntry.objects.filter(position__gt=self._counted).order_by("position")
        found = newer.values("position", "size")[:COUNTED_ROWS].aggregate(
            last=Max("position"), rows=Count("position"), bytes=Sum("size")
        )
        if found["rows"]:
            self._counted = found["last"]
            self._bytes += found["bytes"] + found["rows"] * ROW_BYTES
        more: bool = found["rows"] == COUNTED_ROWS
        self._whole = self._whole or not more
        if self._whole:
            self._known = self._bytes
        return more

    def prune(self, now_ms: int) -> bool:
        """Delete the oldest rows that may go; True while there may be more."""
        walked = JournalEntry.objects.filter(position__gt=self._pruned)
        may_go = walked.filter(position__lte=min(self._floor(), self._counted))
        rows = may_go.order_by("position").values_list("position", "arrival", "size")
        last = count = freed = 0
        for position, arrival, size in rows[:PRUNED_ROWS]:
            too_large = self._whole and self._bytes - freed > self._most_bytes
            if freed >= PRUNED_BYTES or not (too_large or arrival <= now_ms - self._keep_ms):
                break
            last = position
            count += 1
            freed += size + ROW_BYTES
        if not count:
            return False
        try:
            walked.filter(position__lte=last).delete()
        except Error:
            self._restart(now_ms)  # nobody knows whether they are gone
            raise
        self._pruned = last
        self._bytes -= freed
        if self._whole:
            self._known = self._bytes
        return count == PRUNED_ROWS or freed >= PRUNED_BYTES

    def _recount_if_due(self, now_ms: int) -> None:
        """Start again once a day, and where rows may have gone that nobody here has pruned."""
        sites = set(Site.objects.values_list("pk", flat=True))
        away = abs(now_ms - self._looked) > PAUSE_MS
        if away or self._sites - sites or now_ms - self._began >= DAY_MS:
            self._restart(now_ms)
        self._sites = sites
        self._looked = now_ms

    def _restart(self, now_ms: int) -> None:
        self._began = now_ms
        self._whole = False
        self._bytes = 0
        self._counted = self._pruned

    def _floor(self) -> int:
        """The position up to which rows may go; 0 for none."""
        whole = Snapshot.objects.exclude(digest="").order_by("-pk")
        return min(whole.values_list("position", flat=True)[:WHOLE_SNAPSHOTS], default=0)
