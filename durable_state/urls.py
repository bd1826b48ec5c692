"""The REST routes, for ``path("api/state/", include("durable_state.urls"))``."""

from __future__ import annotations

from django.urls import path, re_path

from .models import STREAM_NAME
from .rest import (
    DeadLetterList,
    EntityList,
    FeedView,
    HealthView,
    ParkedChangeList,
    StreamDetail,
    StreamList,
)
from .webhook import doorbell

__all__ = ["app_name", "urlpatterns"]

app_name = "durable_state"
NAME = f"(?P<name>{STREAM_NAME})"

urlpatterns = [
    path("streams/", StreamList.as_view(), name="streams"),
    re_path(rf"^streams/{NAME}/$", StreamDetail.as_view(), name="stream"),
    # An entity type is any text, slashes included.
    re_path(
        rf"^streams/{NAME}/entities/(?P<entity_type>.+)/$", EntityList.as_view(), name="entities"
    ),
    re_path(rf"^streams/{NAME}/dead-letters/$", DeadLetterList.as_view(), name="dead-letters"),
    re_path(rf"^streams/{NAME}/feed/$", FeedView.as_view(), name="feed"),
    re_path(
        rf"^streams/{NAME}/parked-changes/$", ParkedChangeList.as_view(), name="parked-changes"
    ),
    re_path(rf"^doorbells/(?P<database>[^/]+)/{NAME}/$", doorbell, name="doorbell"),
    path("health/", HealthView.as_view(), name="health"),
]
