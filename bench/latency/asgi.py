"""The web process: websockets alone, for anybody."""

from __future__ import annotations

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from durable_state.routing import websocket_urlpatterns  # noqa: E402  # after the set-up

__all__ = ["application"]

sockets = URLRouter(websocket_urlpatterns)  # type: ignore[arg-type]  # the stubs know no pattern
application = ProtocolTypeRouter({"http": django_application, "websocket": sockets})
