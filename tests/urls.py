"""URLs of the test project."""

from django.contrib import admin
from django.urls import include, path

from durable_state.metrics import metrics

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/state/", include("durable_state.urls")),
    path("metrics/", metrics),
]
