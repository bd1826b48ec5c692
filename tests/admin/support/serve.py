"""Serves the admin with its websockets on its own database; each line on stdin is a list of
messages to materialize.

Argument: the port. The database is in the directory SCRATCH.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

import django
import uvicorn


def materialize() -> None:
    """Executes stdin until it closes; then the process ends."""
    from durable_state.testing import apply

    for line in sys.stdin:
        apply("chat", json.loads(line))
        print("done", flush=True)
    os._exit(0)


def application() -> Any:
    """Pages, static files and websockets."""
    from channels.auth import AuthMiddlewareStack
    from channels.routing import ProtocolTypeRouter, URLRouter
    from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
    from django.core.asgi import get_asgi_application

    from durable_state.routing import websocket_urlpatterns

    routes: Any = websocket_urlpatterns
    pages = ASGIStaticFilesHandler(get_asgi_application())
    return ProtocolTypeRouter({"http": pages, "websocket": AuthMiddlewareStack(URLRouter(routes))})


def main(port: int) -> None:
    """Serves until the process is ended."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.admin.support.live_settings")
    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)
    if not User.objects.exists():
        User.objects.create_superuser("admin", "", "admin")
    threading.Thread(target=materialize, daemon=True).start()
    uvicorn.run(application(), port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]))
