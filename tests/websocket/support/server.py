"""An ASGI server of its own for tests:
`python -m tests.websocket.support.server PORT SQLITE_FILE REDIS_URL PREFIX`.

It shares the database and the Redis with the test process, and nothing else.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Serves the websocket until it is terminated."""
    port, database, redis, prefix = sys.argv[1:]
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django
    import uvicorn
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
    uvicorn.run(application, host="127.0.0.1", port=int(port), log_level="warning", lifespan="off")


if __name__ == "__main__":
    main()
