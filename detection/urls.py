"""The shell's paths. POST /events is not among them: see behaviourlens/asgi.py."""

from django.urls import path

from detection.rest import api
from detection.streams import api_stream
from detection.tracker_views import lens_js

urlpatterns = [
    path("lens.js", lens_js, name="lens_js"),
    path("api/stream", api_stream, name="api_stream"),
    path("", api.urls),
]
