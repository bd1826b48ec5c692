"""The admin: streams, dead letters, parked changes, the audit trail,
and ``SyncedModelAdmin`` for a project's own synced models.

Nothing is registered, and nothing of Django's admin imported, where ``django.contrib.admin`` is not
installed.
"""

from __future__ import annotations

from django.apps import apps

__all__: list[str] = []

if apps.is_installed("django.contrib.admin"):
    from . import feed_log, intents, letters, parked, seats, streams  # noqa: F401  (each registers its models)
    from .synced import SyncedModelAdmin

    __all__ += ["SyncedModelAdmin"]
