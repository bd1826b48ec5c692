"""The web process: pages and static files over HTTP, live rows over websockets."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
# Before anything that imports models.
django_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: E402

from durable_state.routing import websocket_urlpatterns  # noqa: E402

application = ProtocolTypeRouter(
    {
        # In production a web server serves static files; here one process is enough.
        "http": ASGIStaticFilesHandler(django_application),
        # The stubs know no plain pattern.
        "websocket": AuthMiddlewareStack(
            URLRouter(websocket_urlpatterns)  # type: ignore[arg-type]
        ),
    }
)
