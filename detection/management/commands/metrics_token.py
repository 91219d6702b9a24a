"""`manage.py metrics_token`: what Prometheus sends to be let in to /metrics."""

from typing import Any

from django.core.management.base import BaseCommand

from detection.metrics import scrape_token


class Command(BaseCommand):
    help = "Print the bearer token for /metrics. It holds for as long as SECRET_KEY stays."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(scrape_token())
