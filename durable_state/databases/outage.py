"""Telling an outage of the database, which passes by itself, from tables that do not fit.

Why: decision 31.
"""

from __future__ import annotations

import django.db

from durable_state.databases.blame import TRANSIENT_CLASSES, sqlstate

__all__ = ["is_outage"]

_STATES = frozenset({"25P03", "55006", "55P03"})
"""Idle for too long (a batch was slow to prepare, or the machine slept), in use, locked."""
_CONNECTING = frozenset({"26", "28"})
"""A pooler's prepared statement, a password: of connections, not of batches."""

_MYSQL_OUTAGES = frozenset(
    {
        *(1020, 1021, 1030, 1037, 1038, 1040, 1041, 1042, 1043, 1045, 1047, 1049, 1053, 1077, 1079),
        *(1080, 1105, 1114, 1129, 1152, 1158, 1159, 1160, 1161, 1180, 1184, 1189, 1190, 1203, 1205),
        *(1206, 1207, 1213, 1223, 1226, 1290, 1317, 1412, 1613, 1614, 1637, 1698, 1792, 1836, 1927),
        *(1969, 3024, 3058, 3101, 3168, 3169, 3572, 4031),
    }
)
"""The server is away, full, read-only, shutting down; a lock is held; a statement took too long."""
_MYSQL_CLIENT = range(2000, 2100)
_MYSQL_CLIENT_REFUSES = frozenset({2014, 2020, 2027, 2034, 2036})
"""What the client library has against a statement or an answer, rather than against the connection.
"""

_SQLITE_OUTAGES = frozenset({5, 6, 7, 9, 10, 13, 14, 15, 17})
"""Busy, locked, no memory, interrupted, I/O, full, cannot open, protocol, schema changed meanwhile.
"""


def is_outage(error: django.db.Error) -> bool:
    """Whether trying again may help by itself: the server is away, a lock is held, the disk is
    full.

    What the database names is looked up: to try a batch again for ever that it will never take is
    worse than to halt for an outage that nobody has listed here.
    """
    if state := sqlstate(error):
        return state[:2] in TRANSIENT_CLASSES | _CONNECTING or state in _STATES
    if not isinstance(error, django.db.OperationalError | django.db.InterfaceError):
        return False
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _SQLITE_OUTAGES
    number = error.args[0] if error.args else None
    if isinstance(number, int) and number > 0:
        is_client = number in _MYSQL_CLIENT and number not in _MYSQL_CLIENT_REFUSES
        return is_client or number in _MYSQL_OUTAGES
    return "Error binding parameter" not in str(error)
