"""Settings of a site that soon notices that a worker is gone."""

from __future__ import annotations

from .live_settings import *  # noqa: F403

DURABLE_STATE = {"LEASE_SECONDS": 2}
