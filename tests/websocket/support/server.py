"""A separate ASGI server for tests: `python -m tests.websocket.support.server KIND PORT
SQLITE_FILE REDIS_URL PREFIX`. It shares the database and the Redis with the test process, and
nothing else.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any


def main() -> None:
    """Serves the websocket until it is terminated."""
    kind, port, database, redis, prefix = sys.argv[1:]
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django
    from django.conf import settings

    settings.DATABASES["default"]["NAME"] = database
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    settings.DURABLE_STATE = {"FEED_POLL_SECONDS": 0.5}
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [redis], "prefix": prefix},
        }
    }
    django.setup()
    from channels.auth import AuthMiddlewareStack
    from channels.routing import ProtocolTypeRouter, URLRouter

    from durable_state.routing import websocket_urlpatterns

    routes = URLRouter(websocket_urlpatterns)  # type: ignore[arg-type]
    application = ProtocolTypeRouter({"websocket": AuthMiddlewareStack(routes)})
    RUN[kind](application, int(port))


def run_uvicorn(application: Any, port: int) -> None:
    """On asyncio, with the websockets library."""
    import uvicorn

    uvicorn.run(application, host="127.0.0.1", port=port, log_level="warning", lifespan="off")


def run_daphne(application: Any, port: int) -> None:
    """On Twisted."""
    from daphne.server import Server  # type: ignore[import-untyped]

    Server(application, endpoints=[f"tcp:port={port}:interface=127.0.0.1"]).run()


def run_hypercorn(application: Any, port: int) -> None:
    """On asyncio, with wsproto."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.loglevel = "WARNING"
    asyncio.run(serve(application, config))


RUN = {"uvicorn": run_uvicorn, "daphne": run_daphne, "hypercorn": run_hypercorn}


if __name__ == "__main__":
    main()
