"""The dashboard app: the pages a site's owner keeps open, and what they hear live."""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    name = "dashboard"
    verbose_name = "Dashboard"

    def ready(self) -> None:
        from dashboard.feed import encode_rows
        from dashboard.live import Ticker
        from detection.api import Feed, every_turn, register

        register(Feed("rows", "rows", encode_rows, coalesce=True))
        every_turn(Ticker())
