"""Django settings: for the run itself every database at hand, for its processes one of them.

BENCH_DATABASE describes it and BENCH_DURABLE_STATE the product's settings, as JSON; BENCH_REDIS is
the URL for a channel layer.
"""

from __future__ import annotations

import atexit
import json
import os
import tempfile

SECRET_KEY = "bench"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "durable_state", "bench"]
DURABLE_STATE = json.loads(os.environ.get("BENCH_DURABLE_STATE", "{}"))

ALLOWED_HOSTS = ["127.0.0.1"]

if "BENCH_DATABASE" in os.environ:
    DATABASES = {"default": json.loads(os.environ["BENCH_DATABASE"])}
else:
    from tests.services import available

    FOLDER = tempfile.TemporaryDirectory(prefix="durable-state-bench-")
    atexit.register(FOLDER.cleanup)
    SQLITE = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{FOLDER.name}/default.sqlite3",
        "TEST": {"NAME": f"{FOLDER.name}/bench.sqlite3"},
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "timeout": 20,
        },
    }
    DATABASES = {"default": SQLITE, **available}

if "BENCH_REDIS" in os.environ:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {
                "hosts": [os.environ["BENCH_REDIS"]],
                "prefix": DATABASES["default"]["NAME"],
            },
        },
        # The layer that Channels' tutorial uses.
        "tutorial": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {
                # Each consumer takes a connection of its own.
                "hosts": [{"address": os.environ["BENCH_REDIS"], "max_connections": 100_000}],
                "prefix": f"{DATABASES['default']['NAME']}-tutorial",
            },
        },
    }
