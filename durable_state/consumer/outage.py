"""Telling an outage of the database, which passes by itself, from tables that do not fit, which do not."""

from __future__ import annotations

import re

import django.db

__all__ = ["is_outage"]

_SQLITE_MISFIT = re.compile(
    r"no such (table|column)|table .* has no column|has \d+ columns but \d+ values|write a readonly database"
)
_IDLE_FOR_TOO_LONG = "25P03"
_MYSQL_MISFIT = frozenset({1044, 1054, 1072, 1136, 1142, 1143, 1146, 1227, 1364})


def is_outage(error: django.db.Error) -> bool:
    """Whether trying again may help by itself: the server is away, a lock is held, the disk is full.

    SQLite and MySQL call a missing table, column or permission an operational error as well; PostgreSQL calls it an internal error that a
    transaction was idle for too long: a batch was slow to prepare, or the machine slept.
    """
    if getattr(error.__cause__, "sqlstate", None) == _IDLE_FOR_TOO_LONG:
        return True
    if not isinstance(error, django.db.OperationalError | django.db.InterfaceError):
        return False
    code = error.args[0] if error.args else None
    return code not in _MYSQL_MISFIT and not _SQLITE_MISFIT.search(str(error))
