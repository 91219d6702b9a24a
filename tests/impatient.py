"""The application as it is served, but for how long it waits: a test cannot."""

from behaviourlens.asgi import application, pages
from detection import streams

pages.stalled_s = 4.0
streams.RECHECK_S = 1.0

__all__ = ["application"]
