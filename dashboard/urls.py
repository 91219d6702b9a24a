"""The dashboard's addresses, included at the root."""

from django.urls import path

from dashboard import views

urlpatterns = [
    path("", views.page, name="dashboard"),
    path("feed", views.feed, name="dashboard_feed"),
    path("visitor", views.visitor, name="dashboard_visitor"),
    path("stream", views.stream, name="dashboard_stream"),
    path("patterns/<str:pattern_id>/resolve", views.resolve, name="dashboard_resolve"),
    path("patterns/<str:pattern_id>/reopen", views.reopen, name="dashboard_reopen"),
]
