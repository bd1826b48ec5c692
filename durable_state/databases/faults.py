"""Tells what a database error means: whether a row is to blame, the tables, or an outage.

Goes by what the database itself says (SQLSTATE, MySQL's number, SQLite's code). Django's classes
follow the drivers', which have the same class for a lost connection and for an index entry that is
too long.

Why: decision 31.
"""

from __future__ import annotations

import re
from typing import Any

import django.db
from django.db import DataError, IntegrityError, NotSupportedError, ProgrammingError
from django.db.transaction import TransactionManagementError

from durable_state.errors import DurableStateError

__all__ = [
    "NoWay",
    "blames_a_row",
    "explain",
    "is_contention",
    "is_deadlock",
    "is_disconnection",
    "is_misfit",
    "is_outage",
    "is_uniqueness",
    "reason_code",
    "sqlstate",
]

ROW_CLASSES = frozenset({"09", "21", "22", "23", "27", "2F", "38", "39", "44", "P0"})
"""SQLSTATE classes with which a type, a constraint or a trigger refuses a row."""
ROW_STATES = frozenset({"54000", "54001"})
"""A value is too long for an index entry or a page, or nested too deeply for a function."""
TRANSIENT_CLASSES = frozenset({"08", "40", "53", "57", "58"})
"""SQLSTATE classes of temporary failures, even if a trigger raises them."""
RAISED = "exec_stmt_raise"
ROW_SECURITY = "ExecWithCheckOptions"
"""Functions in PostgreSQL's source: RAISE in a trigger, which may have any SQLSTATE, and a policy's
WITH CHECK, which shares its SQLSTATE with a missing permission.
"""

MYSQL_RAISED = frozenset({1369, 1643, 1644})
"""SIGNAL in a trigger, a view's CHECK OPTION."""
MYSQL_ROW_ERRORS = MYSQL_RAISED | frozenset(
    {
        *(1048, 1062, 1118, 1138, 1172, 1241, 1242, 1264, 1265, 1267, 1270, 1271, 1292),
        *(1300, 1301, 1329, 1365, 1366, 1367, 1406, 1411, 1416, 1436, 1441, 1456, 1525, 1526),
        *(1591, 1690, 1748, 3140, 3141, 3146, 3152, 3156, 3157, 3751, 3752, 3903, 3907, 3988),
        *(4036, 4037, 4038, 4042),
    }
)
"""Values that a column, a constraint or a trigger refuses, most of which MySQL's driver calls
operational errors: out of range, truncated, too long, malformed, not in the column's character set,
for no partition. Django itself makes those of constraints (3819, 4025) integrity errors.
"""

SQLITE_ERROR = 1
_SQLITE_MISFIT = re.compile(
    r"no such |has no column|has \d+ columns|values for \d+ columns|syntax error|near \""
    r"|unrecognized token|ambiguous column|cannot (modify|insert|update)|readonly|may not be"
    r"|not authorized|too many|circular|already exists|no tables specified|misuse|unable to use",
    re.IGNORECASE,
)
"""What SQLite says of statements that fail for any row. They have the same code as values that a
function in a trigger or a generated column refuses.
"""


def blames_a_row(error: Exception) -> bool:
    """Whether the same statement might succeed without some of its rows.

    An error that is not the database's was raised by a field's code, or by a driver, for a value.
    """
    if isinstance(error, (MemoryError, DurableStateError, TransactionManagementError)):
        return False
    if not isinstance(error, django.db.Error):
        return True
    if state := sqlstate(error):
        return _state_blames_a_row(error, state)
    if isinstance(error, DataError | IntegrityError):
        return True
    number = error.args[0] if error.args else None
    if isinstance(number, int):
        return number in MYSQL_ROW_ERRORS
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    if code is not None:
        return code == SQLITE_ERROR and not _SQLITE_MISFIT.search(str(error))
    return _is_refused_by_driver(error)


def reason_code(error: Exception) -> str:
    """The reason code of the dead letter for a row that the error blames."""
    if not isinstance(error, django.db.Error):
        return "field"
    number = error.args[0] if error.args else None
    raised = (
        sqlstate(error)[:2] in ("44", "P0")
        or _source(error) in (RAISED, ROW_SECURITY)
        or number in MYSQL_RAISED
    )
    return "integrity" if raised or isinstance(error, IntegrityError) else "data"


def explain(error: Exception) -> str:
    """The error's text, preceded by its class if it is not a database error."""
    if isinstance(error, django.db.Error):
        return str(error)
    return f"{type(error).__name__}: {error}"


def sqlstate(error: Exception) -> str:
    """The SQLSTATE that PostgreSQL gave; "" for other databases, and if the server gave none."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""


def _state_blames_a_row(error: Exception, state: str) -> bool:
    if state[:2] in ROW_CLASSES or state in ROW_STATES:
        return True
    if state[:2] in TRANSIENT_CLASSES:
        return False
    return _source(error) in (RAISED, ROW_SECURITY)


def _source(error: Exception) -> str | None:
    diagnostics: Any = getattr(error.__cause__, "diag", None)
    return getattr(diagnostics, "source_function", None)


def _is_refused_by_driver(error: django.db.Error) -> bool:
    """Whether the driver could not make a value a parameter, so that the server never saw it."""
    cause = error.__cause__
    if type(cause).__module__.startswith(("psycopg", "MySQLdb")):
        return isinstance(error, ProgrammingError | NotSupportedError)
    return "Error binding parameter" in str(error)


class NoWay(IntegrityError):
    """A row cannot give up its unique value even for a moment, so no other row can have it."""


UNIQUENESS = frozenset({"23505", "23P01"})
"""PostgreSQL's SQLSTATEs if another row has the value, or one that conflicts with it (EXCLUDE)."""

MYSQL_DUPLICATES = frozenset({1062, 1169, 1557, 1586, 1761, 1762, 1859})

SQLITE_DUPLICATES = frozenset({1555, 2067, 2579})
"""SQLITE_CONSTRAINT_PRIMARYKEY, _UNIQUE and _ROWID."""


def is_uniqueness(error: Exception) -> bool:
    """Whether the database refused a row because another one has its unique value."""
    if isinstance(error, NoWay):
        return True
    if not isinstance(error, IntegrityError):
        return False
    if state := sqlstate(error):
        return state in UNIQUENESS
    number = error.args[0] if error.args else None
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    return code in SQLITE_DUPLICATES or number in MYSQL_DUPLICATES


_STATES = frozenset({"25P03", "55006", "55P03"})
"""Idle for too long (a batch took long to prepare, or the machine slept), in use, locked."""
_CONNECTING = frozenset({"26", "28"})
"""A pooler's prepared statement, a password: faults of the connection, not of the batch."""

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
"""Errors of the client library that concern a statement or an answer, not the connection."""

_SQLITE_OUTAGES = frozenset({5, 6, 7, 9, 10, 13, 14, 15, 17})
"""Busy, locked, no memory, interrupted, I/O, full, cannot open, protocol, schema changed."""


def is_outage(error: django.db.Error) -> bool:
    """Whether a retry may help: the server is away, a lock is held, the disk is full.

    Only errors that are listed here count, because retrying a batch for ever that the database will
    never accept is worse than halting at an outage that is not listed.
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


_MYSQL_GONE = frozenset({1040, 1053, 1077, 1079, 1080, 1927})
"""Too many connections, shutting down, a connection that was killed."""


def is_disconnection(error: django.db.Error) -> bool:
    """Whether the server, or the way to it, is gone, so that no connection to it works any more."""
    if state := sqlstate(error):
        return state[:2] == "08" or state in ("57P01", "57P02", "57P03")
    number = error.args[0] if error.args else None
    if isinstance(number, int) and number > 0:
        return is_outage(error) and (number in _MYSQL_CLIENT or number in _MYSQL_GONE)
    is_of_a_server = type(error.__cause__).__module__.startswith(("psycopg", "MySQLdb"))
    return is_of_a_server and is_outage(error)


_MISFITS = frozenset({"42", "0A", "3F"})
"""SQLSTATE classes of statements that fail for any row: no such table, column or schema; a plan
from before its table was altered.
"""
_MYSQL_MISFITS = frozenset({1054, 1072, 1136, 1142, 1143, 1146, 1364})


def is_misfit(error: django.db.Error) -> bool:
    """Whether the statement does not match the tables, as while a migration is under way."""
    if state := sqlstate(error):
        return state[:2] in _MISFITS
    number = error.args[0] if error.args else None
    if isinstance(number, int):
        return number in _MYSQL_MISFITS
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    return code == SQLITE_ERROR and bool(_SQLITE_MISFIT.search(str(error)))


_DEADLOCKS = frozenset({"40001", "40P01"})
_MYSQL_DEADLOCK = 1213
_LOCKED = "55P03"
_MYSQL_LOCKED = 1205


def is_deadlock(error: django.db.Error) -> bool:
    """Whether the server ended the transaction in favour of another one."""
    if sqlstate(error) in _DEADLOCKS:
        return True
    return isinstance(error, django.db.OperationalError) and error.args[:1] == (_MYSQL_DEADLOCK,)


def is_contention(error: django.db.Error) -> bool:
    """Whether a deadlock, or too long a wait for a lock, ended the transaction."""
    if is_deadlock(error) or sqlstate(error) == _LOCKED:
        return True
    return isinstance(error, django.db.OperationalError) and (
        error.args[:1] == (_MYSQL_LOCKED,) or "database is locked" in str(error)
    )
