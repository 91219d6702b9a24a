"""The ASGI application. To import this module is to serve: it starts the engine."""

import atexit
import os
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "behaviourlens.settings")
# Typed loosely: what Channels routes to is any ASGI application, what Django's types know is views.
django_application: Any = get_asgi_application()

from detection import live  # noqa: E402  (the app registry is full only now)
from detection.backpressure import Backpressure  # noqa: E402
from detection.ingest import EventsEndpoint  # noqa: E402
from detection.leaving import LeaveInOrder  # noqa: E402

runtime = live.runtime()
runtime.start()
pages: Any = Backpressure(django_application, most_streams=settings.BL_MAX_STREAMS)
events: Any = EventsEndpoint(runtime, pages)

http: Any = LeaveInOrder(URLRouter([re_path(r"^events/?$", events), re_path(r"", pages)]))
atexit.register(http.end)  # before the runtime's own end: the last to register is the first

application = ProtocolTypeRouter({"http": http, "websocket": WebsocketDenier.as_asgi()})
