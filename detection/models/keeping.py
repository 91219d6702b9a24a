"""What makes 202 mean kept: the journal, its snapshots, and who owns the engine."""

from django.db import models

from detection.models.sites import Site


class JournalEntry(models.Model):
    """What was accepted, as cleaned at the edge: one row per batch and visitor, or one per change
    of configuration. Replayed in the order of `position`, it gives the same patterns again.

    `position` is given by the one process that owns the engine, from 1 without a gap, so that a
    second writer would meet the primary key. `arrival`: epoch ms, the engine's `now` for these
    events. `size`: bytes of `body`, ahead of it so that sums need not read it.
    """

    class Kind(models.IntegerChoices):
        EVENTS = 1, "events"
        CONFIG = 2, "configuration"

    position = models.BigIntegerField(primary_key=True)
    kind = models.PositiveSmallIntegerField(choices=Kind.choices)
    # Without a constraint in the database: a site may go while its last events are on their way.
    site = models.ForeignKey(
        Site,
        null=True,
        on_delete=models.CASCADE,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    user_id = models.CharField("visitor", max_length=128, blank=True)
    arrival = models.BigIntegerField()
    batch = models.CharField(max_length=64, blank=True)
    count = models.PositiveIntegerField("events", default=0)
    size = models.PositiveIntegerField(default=0)
    body = models.BinaryField()

    class Meta:
        ordering = ("position",)
        indexes = (
            models.Index(fields=["site", "user_id", "arrival"], name="journal_visitor"),
            models.Index(fields=["arrival"], name="journal_time"),
        )

    def __str__(self) -> str:
        return f"{self.position}: {self.count} events"


class Snapshot(models.Model):
    """The engine as it stood after the journal's `position`, in parts.

    It counts once `digest` (of all parts) is there: then every change up to `position` is stored
    as well. `stats` are the sites' running counts, readable whatever the version. `clock`: the
    engine's time, epoch ms.
    """

    position = models.BigIntegerField()
    version = models.PositiveIntegerField()
    clock = models.BigIntegerField()
    stats = models.JSONField(default=dict)
    parts = models.PositiveIntegerField(default=0)
    size = models.BigIntegerField(default=0)
    digest = models.CharField(max_length=64, blank=True)
    taken_at = models.DateTimeField()

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"up to {self.position}"


class SnapshotPart(models.Model):
    """A piece of a snapshot; `number` counts from 0."""

    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="pieces")
    number = models.PositiveIntegerField()
    body = models.BinaryField()

    class Meta:
        ordering = ("snapshot", "number")
        constraints = (
            models.UniqueConstraint(fields=["snapshot", "number"], name="snapshot_part"),
        )

    def __str__(self) -> str:
        return f"part {self.number}"


class Owner(models.Model):
    """Which process runs the engine of this database: one row, for people to read, and what the
    owner writes to learn whether the database takes writes. The lease itself is a lock.
    """

    name = models.CharField(max_length=200, blank=True)
    since = models.DateTimeField(null=True)
    alive_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name
