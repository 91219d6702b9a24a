"""All paths of BehaviourLens."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("demo", include("demo_store.urls")),
    path("", include("dashboard.urls")),
    path("", include("detection.urls")),
]
