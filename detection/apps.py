"""The detection app: makes the engine ready in every process, runs it where it is served."""

from typing import TYPE_CHECKING

from django.apps import AppConfig

if TYPE_CHECKING:
    from detection.runtime import Runtime


class DetectionConfig(AppConfig):
    name = "detection"
    verbose_name = "Detection"
    runtime: "Runtime"

    def ready(self) -> None:
        # ready() also runs in migrate, check, tests and both processes of runserver, so
        # nothing is started and no database is asked here: see behaviourlens/asgi.py.
        from detection import checks, exposure, live  # noqa: F401  (importing registers them)
        from detection.publisher import every_turn
        from detection.runtime import Runtime

        self.runtime = Runtime()
        every_turn(live.send_stats)
