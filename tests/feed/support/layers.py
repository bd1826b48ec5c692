"""Channel layers over Redis."""

from __future__ import annotations

import time
from typing import Any

import pytest

__all__ = ["CORE", "either_layer", "redis_layer"]

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
either_layer = pytest.mark.parametrize("backend", [CORE, PUBSUB], ids=["core", "pubsub"])


def redis_layer(settings: Any, url: str, *, backend: str = CORE, **config: Any) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": backend,
            "CONFIG": {"hosts": [url], "prefix": f"feed-{time.time_ns()}", **config},
        }
    }
