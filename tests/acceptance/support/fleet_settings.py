"""The settings of the fleet's workers: the test app on a database and a broker that come and go."""

from __future__ import annotations

import json
import os
from urllib.parse import urlsplit

LEASE_SECONDS = float(os.environ["FLEET_LEASE_SECONDS"])
SEATS = int(os.environ["FLEET_SEATS"])

_postgres = urlsplit(os.environ["FLEET_POSTGRES_URL"])
_redis = os.environ["FLEET_REDIS_URL"]

SECRET_KEY = "tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "durable_state",
    "tests.app",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": _postgres.hostname,
        "PORT": _postgres.port,
        "USER": _postgres.username,
        "NAME": _postgres.path.strip("/"),
        "OPTIONS": {"connect_timeout": 3},
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [_redis]},
    }
}
DURABLE_STATE = {"LEASE_SECONDS": LEASE_SECONDS, "SLICE_SECONDS": 15.0, "SEATS": SEATS}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1

CELERY_BROKER_URL = _redis
CELERY_TASK_IGNORE_RESULT = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BEAT_SCHEDULE = {
    "durable-state": {"task": "durable_state.tasks.supervise", "schedule": 1.0},
}

globals().update(json.loads(os.environ.get("FLEET_SETTINGS", "{}")))
