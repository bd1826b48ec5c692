"""Limits, names, inspects and ends sessions on MySQL and MariaDB.

A session is named by a lock of that name, which the server releases when the session ends. So the
number that the server gives for the lock's holder is always that of the right session.

Why: decision 52.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from django.db import OperationalError

from .limits import SESSIONS, SessionLimits

__all__ = [
    "end_named_sessions",
    "is_named_session_working",
    "limit_own_session",
    "name_session",
    "obstacle_to_ending",
]

logger = logging.getLogger("durable_state.databases")

GONE = 1094
"""KILL's error for a session that has ended meanwhile."""

_SHOW = """
SELECT command = 'Query' AND coalesce(state, '') NOT IN ('Writing to net', 'Reading from net')
FROM information_schema.processlist WHERE id = IS_USED_LOCK(%s)
"""


def limit_own_session(connection: Any, limits: SessionLimits, *, is_mariadb: bool) -> None:
    """Limits the session for good, and has it see what other sessions commit.

    Also has the server count the rows behind each key of a long list. From 200 keys on it would
    otherwise go by statistics, which know nothing of a table that has just been filled, expect
    thousands of rows for each key, and read the whole index once per list.
    """
    limited = ["innodb_lock_wait_timeout", "lock_wait_timeout"]
    limited += ["net_read_timeout", "net_write_timeout"]
    if is_mariadb:
        limited.append("idle_transaction_timeout")
    with connection.cursor() as cursor:
        settings = dict.fromkeys(limited, limits.seconds) | {"eq_range_index_dive_limit": 0}
        cursor.execute(
            f"SET {', '.join(f'SESSION {name} = {settings[name]}' for name in settings)}"
        )
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")


def name_session(connection: Any, name: str) -> None:
    """Gives the session its name, which no other session may still have.

    If the server has no such locks, as in a Galera cluster, the session stays without a name.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT GET_LOCK(%s, 1)", [name])
            if cursor.fetchone()[0] != 1:
                logger.info("The session %r has no name: another one has it.", name)
    except OperationalError as error:
        logger.info("The session %r has no name, so nobody can end it: %s", name, error)


def end_named_sessions(connection: Any, name: str, *, also_below: bool) -> int:
    """Ends the session of that name and, if ``also_below``, those whose names go on with a dot and
    a number; returns how many.

    Raises: OperationalError, if the user may not.
    """
    names = [name, *(f"{name}.{number}" for number in range(SESSIONS))] if also_below else [name]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(['IS_USED_LOCK(%s)'] * len(names))}", names)
        ours = connection.connection.thread_id()
        numbers = [number for number in cursor.fetchone() if number not in (None, ours)]
        return sum(_kill(cursor, numbers))


def _kill(cursor: Any, numbers: Sequence[int]) -> list[bool]:
    ended = []
    for number in numbers:
        try:
            cursor.execute(f"KILL CONNECTION {int(number)}")
        except OperationalError as error:
            if error.args[0] != GONE:
                raise
            ended.append(False)
        else:
            ended.append(True)
    return ended


def is_named_session_working(connection: Any, name: str) -> bool:
    """Whether the session of that name is executing a statement."""
    with connection.cursor() as cursor:
        cursor.execute(_SHOW, [name])
        return any(is_working for (is_working,) in cursor.fetchall())


def obstacle_to_ending(connection: Any) -> tuple[str, str] | None:
    """Why sessions cannot be named there, and what to do; None if they can.

    Tries it with a name that no session has. A user's own sessions can be ended without a grant.
    """
    name = f"durable_state check {connection.connection.thread_id()}"
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT GET_LOCK(%s, 0), RELEASE_LOCK(%s)", [name, name])
            if 1 in cursor.fetchone():
                return None
            why = "it gives no locks by name"
    except OperationalError as error:
        why = str(error)
    return (
        f"they have no names there, because GET_LOCK is refused ({why})",
        "Let workers use a server that has GET_LOCK; in a cluster, one node of it.",
    )
