"""A project with only the test app, for processes that tests start."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import connections

__all__ = ["address", "set_up"]


def address(using: str, **changes: Any) -> dict[str, Any]:
    """The settings by which the test database of that alias is reached, with the changes."""
    kept = ("ENGINE", "HOST", "PORT", "USER", "PASSWORD", "OPTIONS")
    given = settings.DATABASES[using]
    found = {key: given[key] for key in kept if key in given}
    found["NAME"] = str(connections[using].settings_dict["NAME"])
    return found | changes


def set_up(databases: dict[str, Any], ours: dict[str, Any]) -> None:
    """Sets Django up in a separate process; ``ours`` is ``DURABLE_STATE``."""
    import django

    settings.configure(
        SECRET_KEY="tests",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "durable_state",
            "tests.app",
        ],
        DATABASES=databases,
        DURABLE_STATE=ours,
    )
    django.setup()
