"""Splits an error's text into what any reader of the stream may see and what needs access to rows.

Exceptions of databases and of the project's code may quote the values that caused them.

Why: decision 34.
"""

from __future__ import annotations

import traceback
from typing import Any, NamedTuple

import django.db

from durable_state.conversion import printable
from durable_state.databases.faults import sqlstate
from durable_state.errors import DurableStateError
from durable_state.transport.sent_secrets import mask_sent

__all__ = ["ErrorText", "describe_error", "full_stop"]

_PLAIN_CLASSES = frozenset(
    {"08", "0A", "25", "28", "3D", "3F", "40", "42", "53", "54", "55", "57", "58"}
)
"""SQLSTATE classes whose messages name tables, columns, roles and limits, and quote no value."""
_SYNTAX_ERROR = "42601"
"""The exception among them: it quotes a part of the statement."""

_PLAIN_MYSQL = frozenset(
    {
        *(1040, 1044, 1045, 1049, 1051, 1053, 1054, 1072, 1114, 1136, 1142, 1143, 1146, 1153),
        *(1180, 1203, 1205, 1213, 1226, 1227, 1290, 1317, 1364, 1412, 1615, 1792, 3024),
    }
)
"""The same for MySQL's error numbers. Those from 2000 on are its client's, about connections."""

_RAISED_IN_SQLITE = "SQLITE_CONSTRAINT_TRIGGER"
"""RAISE in a trigger, whose text is the project's. SQLite's own texts name columns."""


class ErrorText(NamedTuple):
    """The text of an error, in parts."""

    sentence: str
    """Holds no value of a row."""

    detail: str = ""
    """May hold values of rows."""

    entity_type: str = ""
    """The type of these rows; "" if they may be of any type."""


def describe_error(error: Exception) -> ErrorText:
    """Describes the error, each part in one line that every database takes, without credentials."""
    if isinstance(error, DurableStateError):
        return ErrorText(
            _line(error.message),
            _line(getattr(error, "detail", "")),
            _line(getattr(error, "entity_type", "")),
        )

    name, text = type(error).__name__, _line(str(error))
    if isinstance(error, django.db.Error):
        sentence = _line(_of_database(error))
        return ErrorText(f"{name}: {sentence}", "" if sentence == text else text)
    return ErrorText(f"{name}{_place(error)}", text)


def full_stop(text: str) -> str:
    """The sentence with a full stop, so that another can follow; databases leave it out."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _of_database(error: django.db.Error) -> str:
    if state := sqlstate(error):
        return _of_postgresql(error, state)
    number = error.args[0] if error.args else None
    if isinstance(number, int):  # MySQL
        is_plain = number in _PLAIN_MYSQL or 2000 <= number < 3000
        return str(error) if is_plain else f"database error {number}"

    sqlite = getattr(error.__cause__, "sqlite_errorname", None)
    if sqlite == _RAISED_IN_SQLITE:
        return "a trigger refused it"
    is_plain = sqlite is not None or isinstance(
        error, django.db.OperationalError | django.db.InterfaceError
    )
    return str(error) if is_plain else "the driver refused it"


def _of_postgresql(error: django.db.Error, state: str) -> str:
    diagnostics: Any = getattr(error.__cause__, "diag", None)
    if state[:2] in _PLAIN_CLASSES and state != _SYNTAX_ERROR:
        return getattr(diagnostics, "message_primary", None) or str(error)

    names = {
        "table": getattr(diagnostics, "table_name", None),
        "column": getattr(diagnostics, "column_name", None),
        "constraint": getattr(diagnostics, "constraint_name", None),
    }
    where = ", ".join(f"{kind} {name}" for kind, name in names.items() if name)
    return f"SQLSTATE {state}" + (f", {where}" if where else "")


def _place(error: Exception) -> str:
    """Where it was raised, which helps people who may not read the message."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    return f" in {frames[-1].name}, line {frames[-1].lineno} of {_module_file(frames[-1].filename)}"


def _module_file(path: str) -> str:
    """The end of a path: the folders above belong to the machine."""
    return "/".join(path.replace("\\", "/").split("/")[-2:])


def _line(text: str) -> str:
    """Texts from mappings and databases may hold line breaks, NUL, or lone surrogates."""
    return mask_sent(" ".join(printable(text).split()))
