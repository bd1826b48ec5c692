"""Sessions on PostgreSQL: limited, named, looked at and ended.

A session of our own is limited once. One that a pooler, or a pool in this process, lends would
carry the limits to other users. There, each transaction is limited, and each statement outside of
one gets a transaction of its own.

Why: decision 52.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from django.db import ProgrammingError, transaction

from .limits import SessionLimits
from .together import Statement

__all__ = [
    "end_named_sessions",
    "is_lent",
    "is_named_session_working",
    "limit_each_transaction",
    "limit_own_session",
    "limiting_transaction",
    "obstacle_to_ending",
]

_BORROWED = "_durable_state_borrowed"
"""The attribute of a connection that others use too: the limits of each of its transactions."""

_LIMIT = """
SELECT set_config(wanted.name, wanted.value, false)
FROM unnest(%s::text[], %s::text[]) AS wanted(name, value)
WHERE pg_backend_pid() = %s
"""
"""Sets nothing where a pooler stands between, which tells a number of its own invention when a
connection is made."""

_MAY_END = """
SELECT current_user, session_user, pg_has_role(current_user, session_user, 'USAGE')
    OR pg_has_role(current_user, 'pg_signal_backend', 'USAGE')
    AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = session_user)
"""

_SHOW = """
SELECT state = 'active' AND coalesce(wait_event_type, '') NOT IN ('Client', 'Lock')
FROM pg_stat_activity WHERE application_name = %s
"""


def is_lent(connection: Any) -> bool:
    """Whether others use its session too, because a pool or pooler lends it."""
    if connection.settings_dict["OPTIONS"].get("pool"):
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (number,) = cursor.fetchone()
        return bool(number != connection.connection.info.backend_pid)


def limit_own_session(connection: Any, limits: SessionLimits) -> bool:
    """Limits the session for good; False, and nothing is done, where it is not ours alone."""
    if connection.settings_dict["OPTIONS"].get("pool"):
        return False
    driver = connection.connection
    wanted = _session_settings(limits)
    with suppress(ProgrammingError):  # an assumed role, which may not
        end_named_sessions(connection, limits.name, also_below=False)
    # Our end of the way to it is ours in any case.
    _limit_socket(driver.fileno(), limits.seconds)
    with connection.cursor() as cursor:
        number = driver.info.backend_pid
        cursor.execute(_LIMIT, [list(wanted), list(wanted.values()), number])
        return cursor.fetchone() is not None


def _session_settings(limits: SessionLimits) -> Mapping[str, str]:
    seconds = limits.seconds
    return {
        "application_name": limits.name,
        "lock_timeout": f"{seconds}s",
        "idle_in_transaction_session_timeout": f"{seconds}s",
        # A client that is gone without a word, or that takes nothing of what it is sent.
        "tcp_user_timeout": f"{seconds}s",
        "tcp_keepalives_idle": str(seconds),
        "tcp_keepalives_interval": str(max(1, seconds // 3)),
        "tcp_keepalives_count": "3",
    }


def _limit_socket(number: int, seconds: int) -> None:
    """The same at our end, for a server or pooler that is gone without a word."""
    options = {
        "TCP_USER_TIMEOUT": seconds * 1000,
        "TCP_KEEPIDLE": seconds,
        "TCP_KEEPINTVL": max(1, seconds // 3),
        "TCP_KEEPCNT": 3,
    }
    # Not over a socket in the file system, nor on every system.
    with suppress(OSError), socket.fromfd(number, socket.AF_INET, socket.SOCK_STREAM) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in options.items():
            if hasattr(socket, name):
                end.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def limit_each_transaction(connection: Any, limits: SessionLimits) -> None:
    """Runs each statement outside of a transaction in one of its own, which is limited."""
    if not hasattr(connection, _BORROWED):
        connection.execute_wrappers.append(_in_transaction)
    setattr(connection, _BORROWED, limits)


def limiting_transaction(connection: Any, seconds: int) -> list[Statement]:
    """Statements that limit the current transaction, and name it if it is a worker's."""
    statements: list[Statement] = [
        (f"SET LOCAL lock_timeout = '{seconds}s'", ()),
        (f"SET LOCAL idle_in_transaction_session_timeout = '{seconds}s'", ()),
    ]
    limits: SessionLimits | None = getattr(connection, _BORROWED, None)
    if limits is not None:
        statements.append(("SET LOCAL application_name = %s", (limits.name,)))
    return statements


def _in_transaction(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    connection = context["connection"]
    if connection.in_atomic_block:
        return execute(sql, params, many, context)
    seconds = getattr(connection, _BORROWED).seconds
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        for statement, values in limiting_transaction(connection, seconds):
            cursor.execute(statement, values)
        return execute(sql, params, many, context)


def end_named_sessions(connection: Any, name: str, *, also_below: bool) -> int:
    """Ends the session of that name, and ``also_below`` those whose names continue with a dot.

    Raises: ProgrammingError, if the role may not.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE (application_name = %s OR (%s AND starts_with(application_name, %s)))"
            " AND pid <> pg_backend_pid()",
            [name, also_below, f"{name}."],
        )
        return sum(ended for (ended,) in cursor.fetchall())


def obstacle_to_ending(connection: Any) -> tuple[str, str] | None:
    """Why the role may not end sessions with its own login, and what to do; None if it may."""
    with connection.cursor() as cursor:
        cursor.execute(_MAY_END)
        role, login, may = cursor.fetchone()
    if may:
        return None
    why = f"the role {role!r} may not, because they are of {login!r}"
    grant = f"GRANT pg_signal_backend TO {connection.ops.quote_name(role)}"
    return why, f"{grant}, and let {login!r} be no superuser."


def is_named_session_working(connection: Any, name: str) -> bool:
    """Whether the server is working on a statement of that session."""
    with connection.cursor() as cursor:
        cursor.execute(_SHOW, [name])
        return any(is_working for (is_working,) in cursor.fetchall())
