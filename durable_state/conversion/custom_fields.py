"""Conversion for fields with code of their own, which may change a value when it is written and
when it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, connections, models

from .refusal import Refused, shown, storable_text

__all__ = ["is_computed", "own_converter"]


def own_converter(column: models.Field[Any, Any], using: str | None) -> Callable[[Any], Any]:
    """Takes whatever the field's ``to_python`` takes, and returns what the column gives back."""
    longest: int | None = column.max_length if isinstance(column, models.CharField) else None
    there_and_back = _there_and_back(column, using or DEFAULT_DB_ALIAS)

    def convert_value(raw: Any) -> Any:
        if isinstance(raw, str):
            raw = storable_text(raw)
        try:
            value = column.to_python(raw)
        except ValidationError as error:
            raise Refused("invalid", " ".join(error.messages)) from error
        except Exception as error:  # whatever a foreign to_python raises, it refused this value
            raise Refused("invalid", f"{shown(raw)}: {type(error).__name__}: {error}") from error
        if isinstance(value, str) and longest is not None and len(value) > longest:
            raise Refused("too-long", f"{len(value)} characters; the column holds {longest}.")
        if value is None and not column.null:
            raise Refused("null", "The column must not be NULL.")
        if using is not None:
            _try_as_parameter(column, value, using)
        return value if value is None else there_and_back(value)

    return convert_value


def _try_as_parameter(column: models.Field[Any, Any], value: Any, using: str) -> None:
    """Raises: Refused, if the field cannot make a query's parameter of the value."""
    try:
        column.get_db_prep_value(value, connections[using])
    except Exception as error:
        raise Refused("invalid", f"{shown(value)}: {type(error).__name__}: {error}") from error


def _there_and_back(column: models.Field[Any, Any], using: str) -> Callable[[Any], Any]:
    """The function that foretells what is read once a value is written, by the field's own code and
    without a database.

    It returns the value itself if that code needs a driver, or does not reach a stable result.
    """
    connection = connections[using]
    writes_itself = type(column).get_db_prep_value is not models.Field.get_db_prep_value
    from_db_value: Any = getattr(column, "from_db_value", None)

    def pass_through(value: Any) -> Any:
        written = (
            column.get_db_prep_save(value, connection)
            if writes_itself
            else column.get_prep_value(value)
        )
        if from_db_value is not None:
            return from_db_value(written, None, connection)
        return written if type(written) is type(value) else value

    def settle(value: Any) -> Any:
        try:
            once = pass_through(value)
            return once if pass_through(once) == once else value
        except Exception:
            return value

    return settle


def is_computed(kind: type[models.Field[Any, Any]]) -> bool:
    """Whether fields of that class have the database compute their values, in a placeholder of
    their own. Django's placeholders only cast.
    """
    placeholder = getattr(kind, "get_placeholder", None)
    return placeholder is not None and not placeholder.__module__.startswith(
        ("django.db.models.", "django.contrib.postgres.")
    )
