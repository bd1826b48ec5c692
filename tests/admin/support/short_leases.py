"""Settings of a site whose workers are missed soon."""

from __future__ import annotations

from .live_settings import *  # noqa: F403

DURABLE_STATE = {"LEASE_SECONDS": 2}
