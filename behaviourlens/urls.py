"""All paths of BehaviourLens."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("admin/", admin.site.urls),
    path("demo", include("demo_store.urls")),
    path("favicon.ico", RedirectView.as_view(url=static("dashboard/favicon.svg"))),
    path("", include("dashboard.urls")),
    path("", include("detection.urls")),
]
