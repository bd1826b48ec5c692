"""The websocket routes.

Wrap them in ``channels.auth.AuthMiddlewareStack``, which knows who is signed in.
"""

from __future__ import annotations

import re

from django.conf import settings
from django.urls import URLPattern, re_path

from .websocket import StateConsumer, StreamsConsumer

__all__ = ["websocket_patterns", "websocket_urlpatterns"]


def websocket_patterns(script_name: str | None = None) -> list[URLPattern]:
    """The routes, below the project's FORCE_SCRIPT_NAME where a server leaves that in the path.

    Every name has a route: one that no stream can have is answered as one that does not exist.
    """
    below = re.escape((script_name or "").strip("/"))
    start = rf"^(?:{below}/)?ws/state" if below else r"^ws/state"
    # Channels routes ASGI applications by Django's URL patterns, which are typed for views.
    return [
        re_path(rf"{start}/?$", StreamsConsumer.as_asgi()),  # type: ignore[arg-type]
        re_path(
            rf"{start}/(?P<stream>.+?)/?$",
            StateConsumer.as_asgi(),  # type: ignore[arg-type]
        ),
    ]


websocket_urlpatterns = websocket_patterns(settings.FORCE_SCRIPT_NAME)
