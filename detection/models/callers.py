"""Who calls the API without a browser: bearer tokens, of which only a digest is kept."""

import hashlib
import secrets

from django.conf import settings
from django.db import models

PREFIX = "bl_"
HINT = len(PREFIX) + 6


def new_token() -> str:
    """A token of 256 random bits, to be shown once."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(token: str) -> str:
    """What is kept of a token. Its text is random and long, so a plain hash tells nothing of it."""
    return hashlib.sha256(token.encode()).hexdigest()


class ApiToken(models.Model):
    """A bearer token. It sees the sites that its person sees, and does no more than its scope.

    `hint` is its beginning, by which people tell tokens apart. A token whose person is no longer
    active is worth nothing.
    """

    class Scope(models.TextChoices):
        READ = "read", "read: patterns, visitors, streams"
        RESOLVE = "resolve", "resolve: read, and resolve and reopen patterns"
        ADMIN = "admin", "admin: all that its person may do, erasing and metrics included"

    name = models.CharField(max_length=100, help_text="What it is for, such as “status board”.")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="api_tokens",
        verbose_name="person",
        help_text="It sees the sites that this person sees.",
    )
    scope = models.CharField(max_length=10, choices=Scope.choices, default=Scope.READ)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField("begins with", max_length=HINT, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField("expires")
    last_used_at = models.DateTimeField("last used", null=True, editable=False)

    class Meta:
        verbose_name = "API token"
        ordering = ("name", "pk")

    def __str__(self) -> str:
        return self.name

    def set_token(self, token: str) -> None:
        """Keep of a new token what is kept of it."""
        self.digest = digest_of(token)
        self.hint = token[:HINT]
