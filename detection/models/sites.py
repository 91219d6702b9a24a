"""Sites, and how their visitors' funnel and time are told apart from other sites'."""

import secrets

from django.contrib.auth.models import Group
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

DEFAULT_SITE_ID = 1


def new_key() -> str:
    """A public write key for a site."""
    return secrets.token_urlsafe(16)


class Site(models.Model):
    """A tracked site. Visitors, patterns, changes and streams belong to one.

    `last_change` is the sequence of its newest PatternChange; `patterns_detected` counts
    its patterns, so that neither ever needs a count over a large table. While its key is
    being changed, `previous_key` is taken as well.
    """

    name = models.CharField(max_length=100, unique=True)
    key = models.CharField(
        "write key",
        max_length=64,
        unique=True,
        default=new_key,
        help_text="Public: it stands in the page's script tag as data-site.",
    )
    previous_key = models.CharField(
        max_length=64,
        blank=True,
        db_index=True,
        editable=False,
        help_text="Still taken, until every page has the new one.",
    )
    allowed_origins = models.TextField(
        blank=True,
        help_text=(
            "Origins that may send events for this site, one a line, such as "
            "https://shop.example; * stands for any. Empty: any on this machine while DEBUG is on, "
            "and else only pages of this very server."
        ),
    )
    groups = models.ManyToManyField(
        Group,
        blank=True,
        related_name="+",
        help_text="Whose people see this site. Superusers see every site.",
    )
    funnel_steps = models.TextField(
        blank=True,
        help_text=(
            "The pages that a visitor goes through, one a line, in order, such as /cart, "
            "/checkout, /payment. Empty: just these."
        ),
    )
    funnel_completed_on = models.TextField(
        "funnel completed on",
        blank=True,
        help_text=(
            "Pages that complete it, one a line. The actions confirm and purchase always do. "
            "Empty: /confirm."
        ),
    )
    leave_grace = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(1799)],
        help_text=(
            "Seconds after a page of the funnel is left until that counts as abandonment; longer "
            "where people pay on another site. Empty: BL_LEAVE_GRACE."
        ),
    )
    retention_days = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(3650)],
        help_text=(
            "Nothing of this site's visitors is kept for longer, in days. Empty: as long as the "
            "server keeps it (BL_RETENTION, BL_JOURNAL_RETENTION)."
        ),
    )
    last_change = models.BigIntegerField(default=0, editable=False)
    patterns_detected = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def origins(self) -> frozenset[str]:
        return frozenset(line.strip().rstrip("/") for line in self.allowed_origins.split())
