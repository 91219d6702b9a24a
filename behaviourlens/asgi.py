"""The ASGI application. To import this module is to serve: it starts the engine."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "behaviourlens.settings")
django_application = get_asgi_application()

from django.apps import apps  # noqa: E402  (the registry is full only now)

from detection.ingest import EventsEndpoint  # noqa: E402

runtime = apps.get_app_config("detection").runtime
runtime.start()

application = ProtocolTypeRouter(
    {
        "http": URLRouter(
            [
                re_path(r"^events/?$", EventsEndpoint(runtime, django_application)),
                re_path(r"", django_application),
            ]
        )
    }
)
