"""What the caller has set on its connection, and the threads that work for it take over: a tenant's
schema (django-tenants), the search path, the role.

Invariant: whatever such a thread opens is set before its first statement.

Why: decision 56.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import connections
from django.db.backends.signals import connection_created

from durable_state.errors import OperationRefused

from .postgresql_sessions import is_lent

__all__ = ["CallerState"]

_SET = """
SELECT name, setting FROM pg_settings
WHERE name IN ('search_path', 'role') AND setting IS DISTINCT FROM reset_val
"""

_thread = threading.local()


@dataclass(frozen=True)
class CallerState:
    """The state of one thread's connection to a database, for other threads to take over."""

    using: str
    tenant: Any = None
    """What a connection with ``set_tenant`` is set to."""

    settings: Mapping[str, str] = field(default_factory=dict)
    """The session's settings that have changed since it began, by name."""

    @classmethod
    def of(cls, using: str) -> CallerState:
        """The calling thread's.

        Raises: OperationRefused, where others would get what it has set.
        """
        connection: Any = connections[using]
        if hasattr(connection, "set_tenant"):
            return cls(using, connection.tenant)
        if connection.vendor != "postgresql" or connection.connection is None:
            return cls(using)

        with connection.cursor() as cursor:
            cursor.execute(_SET)
            settings = dict(cursor.fetchall())
        if settings and is_lent(connection):
            named = " and ".join(sorted(settings))
            raise OperationRefused(
                f"The connection to the database {using!r} has a {named} of its own, which"
                " connections that a pool or pooler lends cannot take over.",
                "Set it for all connections (ALTER ROLE ... SET), or do without the pool.",
            )
        return cls(using, settings=settings)

    def take_over(self) -> None:
        """Gives this state to all connections of the calling thread, from now on."""
        _thread.state = self
        if self.tenant is not None:
            self.set_on(connections[self.using])

    def set_on(self, connection: Any) -> None:
        """Gives this state to one connection."""
        if self.tenant is not None:
            connection.set_tenant(self.tenant)
        if self.settings:
            with connection.cursor() as cursor:
                for name, value in self.settings.items():
                    cursor.execute("SELECT set_config(%s, %s, false)", [name, value])


def _set(*, connection: Any, **kwargs: Any) -> None:
    state: CallerState | None = getattr(_thread, "state", None)
    if state is not None and state.using == connection.alias and state.settings:
        state.set_on(connection)


connection_created.connect(_set, dispatch_uid="durable_state.databases.callers")
