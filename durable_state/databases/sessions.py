"""A worker's sessions: limited from the moment they are opened, so that none waits for long, and
named, so that another worker can end those of one that froze.

Invariant: each session that a worker's thread opens is limited before its first statement, even if
it replaces a broken one within a call. The connections of all other threads stay as they are.

Why: decision 52.
"""

from __future__ import annotations

import threading
from typing import Any

from django.db.backends.signals import connection_created

from .choosing import database_of, find_database
from .limits import SessionLimits

__all__ = ["end_session", "end_sessions", "has_server", "is_session_working", "limit_sessions"]

_thread = threading.local()


def limit_sessions(limits: SessionLimits, opened: set[str] | None = None) -> None:
    """Limits and names every session that the calling thread opens from now on.

    The aliases of their databases are added to ``opened``.
    """
    _thread.limits = limits
    _thread.opened = set() if opened is None else opened


def end_session(using: str, name: str) -> int:
    """Ends the session of that name, if there is one; returns how many were ended.

    Its transaction is rolled back, whatever its client is doing.
    Raises: database errors, if the role may not.
    """
    return find_database(using).end_sessions(name, also_below=False)


def end_sessions(using: str, name: str) -> int:
    """The same for all sessions whose names begin with that name and a dot."""
    return find_database(using).end_sessions(name, also_below=True)


def has_server(using: str) -> bool:
    """Whether the database is a process of its own, which may not answer."""
    return find_database(using).has_server


def is_session_working(using: str, name: str) -> bool:
    """Whether the server is working on a statement of that session.

    It is not if the session waits for its client or for a lock, or is gone.
    """
    return find_database(using).is_session_working(name)


def _limit(*, connection: Any, **kwargs: Any) -> None:
    limits: SessionLimits | None = getattr(_thread, "limits", None)
    database = database_of(connection)
    database.limits = None
    if limits is None:
        return
    _thread.opened.add(connection.alias)
    try:
        database.limit_session(limits)
    except BaseException:
        connection.close()  # or it would be used without limits
        raise


connection_created.connect(_limit, dispatch_uid="durable_state.databases.sessions")
