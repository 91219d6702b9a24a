"""Who was turned away at the door lately, for the operator who wonders why nothing arrives."""

from django.db import models

from detection.models.sites import Site


class RefusedSender(models.Model):
    """Requests to POST /events that were refused for their key or origin: few rows, the newest.

    `code` as in the answer; `sender` the origin that was refused, or the beginning of the key.
    """

    site = models.ForeignKey(Site, null=True, on_delete=models.CASCADE, related_name="+")
    code = models.CharField(max_length=20)
    sender = models.CharField(max_length=200, blank=True)
    count = models.PositiveBigIntegerField(default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ("-last_at",)
        constraints = (
            models.UniqueConstraint(fields=["code", "sender", "site"], name="refused_sender"),
        )

    def __str__(self) -> str:
        return f"{self.code} {self.sender}"
