"""The websocket route.

Wrap it in ``channels.auth.AuthMiddlewareStack``, which knows who is signed in.
"""

from __future__ import annotations

from django.urls import re_path

from .websocket import StateConsumer

__all__ = ["websocket_urlpatterns"]

websocket_urlpatterns = [
    # Channels routes ASGI applications by Django's URL patterns, which are typed for views.
    re_path(
        r"^ws/state/(?P<stream>[A-Za-z0-9._-]{1,100})/$",
        StateConsumer.as_asgi(),  # type: ignore[arg-type]
    ),
]
