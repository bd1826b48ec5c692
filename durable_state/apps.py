"""Wires the app: autodiscovery of mappings, system checks."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules

__all__ = ["DurableStateConfig"]


class DurableStateConfig(AppConfig):
    """Imports every app's ``state_mappings`` and registers the checks."""

    name = "durable_state"
    verbose_name = "Durable State"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks  # noqa: F401  (registers the checks)

        autodiscover_modules("state_mappings")
