"""Patterns, and every step that each of them took."""

from django.contrib.admin.utils import quote
from django.db import models
from django.db.models import Q
from django.urls import reverse

from detection.engine.patterns import ChangeKind, Severity
from detection.models.sites import Site


class SeverityChoice(models.IntegerChoices):
    LOW = Severity.LOW.value, "low"
    MEDIUM = Severity.MEDIUM.value, "medium"
    HIGH = Severity.HIGH.value, "high"


class PatternQuerySet(models.QuerySet["Pattern"]):
    def for_site(self, site: int) -> "PatternQuerySet":
        return self.filter(site_id=site)

    def newest_first(self) -> "PatternQuerySet":
        return self.order_by("-detected_at", "-pattern_id")

    def matching(
        self, *, severity: str = "", type: str = "", user: str = "", q: str = ""
    ) -> "PatternQuerySet":
        """Those that pass every filter given; an empty one lets all pass.

        severity: low, medium or high. user: a visitor's id, or the id it was identified as.
        q: words found, whatever their case, in visitor, page or explanation.
        """
        found = self
        if severity:
            found = found.filter(severity=Severity[severity.upper()].value)
        if type:
            found = found.filter(type=type)
        if user:
            found = found.filter(Q(user_id=user) | Q(identified=user))
        if q.strip():
            found = found.filter(search_text__contains=normal(q))
        return found

    def before(self, pattern: "Pattern") -> "PatternQuerySet":
        """Those that come after `pattern` in a list that shows the newest first."""
        return self.filter(
            Q(detected_at__lt=pattern.detected_at)
            | Q(detected_at=pattern.detected_at, pattern_id__lt=pattern.pattern_id)
        )


def normal(text: str) -> str:
    """Text as it is searched: case folded, white space collapsed."""
    return " ".join(text.casefold().split())


class Pattern(models.Model):
    """A piece of friction at one visitor, as it stands now."""

    pattern_id = models.CharField(max_length=64, primary_key=True, editable=False)
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="patterns")
    user_id = models.CharField("visitor", max_length=128)
    identified = models.CharField(max_length=128, blank=True)
    type = models.CharField(max_length=40)
    place = models.TextField()
    page = models.CharField(max_length=2048)
    severity = models.PositiveSmallIntegerField(choices=SeverityChoice.choices)
    explanation = models.TextField()
    evidence = models.JSONField(default=dict)
    detected_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    resolved_at = models.DateTimeField("resolved", null=True, blank=True)
    resolved_by = models.CharField(max_length=150, blank=True)
    recovered_at = models.DateTimeField("recovered", null=True, blank=True)
    note = models.TextField(blank=True, help_text="For colleagues; kept with the pattern.")
    search_text = models.TextField(editable=False)

    objects = PatternQuerySet.as_manager()

    class Meta:
        ordering = ("-detected_at", "-pattern_id")
        indexes = (
            models.Index(fields=["site", "-detected_at", "-pattern_id"], name="pattern_newest"),
            models.Index(fields=["site", "type", "-detected_at"], name="pattern_type"),
            models.Index(fields=["site", "severity", "-detected_at"], name="pattern_severity"),
            models.Index(fields=["site", "user_id", "-detected_at"], name="pattern_visitor"),
            models.Index(fields=["site", "identified"], name="pattern_identified"),
            models.Index(fields=["updated_at"], name="pattern_updated"),
        )

    def __str__(self) -> str:
        return f"{self.get_severity_display()} {self.type} on {self.page}"

    def get_absolute_url(self) -> str:
        # The admin reads `_5F` and the like in an id as an escape.
        return reverse("admin:detection_pattern_change", args=[quote(self.pattern_id)])

    @property
    def severity_label(self) -> str:
        return Severity(self.severity).label

    @property
    def resolved(self) -> bool:
        return self.resolved_at is not None

    @property
    def recovered(self) -> bool:
        return self.recovered_at is not None

    @property
    def state(self) -> str:
        """`open`, `resolved` or `recovered`."""
        if self.recovered:
            return "recovered"
        return "resolved" if self.resolved else "open"

    def set_search_text(self) -> None:
        parts = (self.user_id, self.identified, self.page, self.explanation)
        self.search_text = "\n".join(normal(part) for part in parts)


class PatternChange(models.Model):
    """One step of a pattern: the audit trail, and what the streams send.

    `sequence` counts from 1 without a gap within a site; it is the streams' event id. The
    fields hold the pattern as that step left it, so that a client that reconnects is told
    what it would have been told.
    """

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="changes")
    sequence = models.BigIntegerField()
    pattern = models.ForeignKey(Pattern, on_delete=models.CASCADE, related_name="changes")
    kind = models.CharField(max_length=12, choices=[(k.value, k.value) for k in ChangeKind])
    at = models.DateTimeField()
    severity = models.PositiveSmallIntegerField(choices=SeverityChoice.choices)
    explanation = models.TextField()
    resolved_at = models.DateTimeField(null=True)
    resolved_by = models.CharField(max_length=150, blank=True)
    recovered_at = models.DateTimeField(null=True)
    actor = models.CharField("by", max_length=150, blank=True)

    class Meta:
        ordering = ("site", "sequence")
        constraints = (
            models.UniqueConstraint(fields=["site", "sequence"], name="change_sequence"),
        )

    def __str__(self) -> str:
        return f"{self.sequence}: {self.kind}"
