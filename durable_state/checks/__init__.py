"""System checks: every mistake in a mapping or a setting has a number.
docs/reference/checks.md lists them.

A check looks at classes, fields and catalogs only, reads no row, and never raises: it reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Tags, register

from durable_state.registry import registry

from .database import check_database
from .mappings import check_mappings
from .registration import check_registration
from .sessions import check_sessions
from .settings import check_settings

__all__ = [
    "check_database",
    "check_mappings",
    "check_registration",
    "check_sessions",
    "check_settings",
]


@register("durable_state")
def mappings(**kwargs: Any) -> list[CheckMessage]:
    """E001 to E019, E030: the registered mappings. W031, W032: what is not registered."""
    return [*check_mappings(registry), *check_registration(registry)]


@register("durable_state")
def settings(**kwargs: Any) -> list[CheckMessage]:
    """E020, E021, E028, W029: the dict ``DURABLE_STATE``."""
    return check_settings()


@register("durable_state", Tags.database)
def databases(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E009, W015, W017, W018, W022: how the database stores keys and values. W040 to W042: whether
    it offers the sessions that consumers need. Only with ``check --database`` and ``migrate``.
    """
    return [*check_database(registry, databases or ()), *check_sessions(databases or ())]
