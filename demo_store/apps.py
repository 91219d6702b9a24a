"""Verse, the demo store: a small shop whose visitors BehaviourLens watches."""

from django.apps import AppConfig


class DemoStoreConfig(AppConfig):
    name = "demo_store"
    verbose_name = "Verse (demo store)"
    default_auto_field = "django.db.models.BigAutoField"
