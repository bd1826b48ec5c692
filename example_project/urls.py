"""Pages, admin and REST."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.staticfiles.storage import staticfiles_storage
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="history:page")),
    path("history/", include("example_project.history.urls")),
    path("behind/", include("example_project.station.urls")),
    path("chat/", include("example_project.chat.urls")),
    path("state/", include("durable_state.urls")),
    path("admin/", admin.site.urls),
    path("favicon.ico", RedirectView.as_view(url=staticfiles_storage.url("example/icon.svg"))),
]
