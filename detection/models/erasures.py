"""Requests to delete everything that is held about a visitor."""

from django.db import models
from django.db.models import Q

from detection.models.sites import Site


class Erasure(models.Model):
    """A request to forget a visitor, made in any process, carried out by the engine's owner.

    `subject`: the visitor's id, or the id that `lens.identify` gave; empty once it is done, since
    what was erased is not kept here either. `found`: how many rows of each kind went.
    """

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="+")
    subject = models.CharField("visitor", max_length=128, blank=True)
    requested_at = models.DateTimeField(auto_now_add=True)
    requested_by = models.CharField("by", max_length=150, blank=True)
    done_at = models.DateTimeField("done", null=True)
    found = models.JSONField(default=dict)

    class Meta:
        ordering = ("-pk",)
        indexes = (
            models.Index(fields=["id"], name="erasure_pending", condition=Q(done_at__isnull=True)),
        )

    def __str__(self) -> str:
        return f"erasure {self.pk}"
