"""The websocket's routes as one user sees them."""

from __future__ import annotations

from typing import Any, cast

from channels.routing import URLRouter

from durable_state.routing import websocket_urlpatterns

__all__ = ["AsUser"]


class AsUser:
    """The websocket routes, with one user signed in."""

    def __init__(self, user: Any) -> None:
        self.user = user
        self.routes = URLRouter(websocket_urlpatterns)  # type: ignore[arg-type]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.user is not None:
            scope = cast(Any, scope | {"user": self.user})
        await self.routes(scope, receive, send)
