"""Gives fields that a change leaves out their defaults.

A default that differs each time (the moment, a random token) is made once per entity and kept:
otherwise every replay would change every row.

Why: decision 33.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import models
from django.db.models import Value
from django.db.models.expressions import DatabaseDefault
from msgspec import UNSET

from durable_state.conversion import Refused, absent

from ..plan import PlannedField, Values

__all__ = ["Fresh", "has_fresh", "overlay", "overlay_raw", "settle", "value_left_out"]

CALLS = 8
"""How often a default is called to see whether it stays the same."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """A default that differs each time; it counts only if its entity has no value yet."""

    value: Any


def has_fresh(values: Values) -> bool:
    """Whether any of the values is a ``Fresh`` default."""
    return Fresh in map(type, values)


def overlay(under: Values, over: Values) -> Values:
    """The values of ``over``, and for what it leaves out those of ``under``."""
    return tuple(
        below if above is UNSET or (type(above) is Fresh and below is not UNSET) else above
        for below, above in zip(under, over, strict=True)
    )


def overlay_raw(under: Values, over: Values, over_values: Values) -> Values:
    """The same for raw values; ``over_values`` tells which ones the change leaves out without a
    constant default.
    """
    return tuple(
        below if (value is UNSET or type(value) is Fresh) and below is not UNSET else above
        for below, above, value in zip(under, over, over_values, strict=True)
    )


def settle(values: Values) -> Values:
    """The values of a new entity: ``Fresh`` defaults become plain values."""
    if not has_fresh(values):
        return values
    return tuple(value.value if type(value) is Fresh else value for value in values)


def value_left_out(planned: PlannedField) -> Any:
    """The field's default, or NULL.

    Raises: Refused, where there is no default and NULL is not allowed.
    """
    default = _default(planned)
    if default is not None:
        is_kept = not planned.is_relation and _says_something_else(planned.field)
        return Fresh(default) if is_kept else default
    if not planned.field.null:
        raise Refused("null", f"{planned.name} is left out, has no default and must not be NULL.")
    return absent(planned.field)


def _default(planned: PlannedField) -> Any:
    """A field's default as it would be read back, so that a row that has it compares equal."""
    default = planned.field.get_default()
    if isinstance(default, DatabaseDefault):
        expression = default.expression  # type: ignore[attr-defined]
        default = expression.value if isinstance(expression, Value) else expression
    if default is None or planned.is_relation or hasattr(default, "resolve_expression"):
        return default
    try:
        return planned.convert(default)
    except Refused:
        return planned.field.to_python(
            default
        )  # less strict: the application may use 5 as a text's default, though no stream may


@lru_cache(maxsize=4096)
def _says_something_else(field: models.Field[Any, Any]) -> bool:
    """Whether the default differs each time; of a function, as far as a few calls show.

    Moments, times and days always do.
    """
    if not field.has_default():
        expression: Any = getattr(field, "db_default", None)
        return hasattr(expression, "resolve_expression") and not isinstance(expression, Value)
    if not callable(field.default):
        return False
    values: Sequence[Any] = [field.default() for _ in range(CALLS)]
    return isinstance(values[0], (datetime.date, datetime.time)) or any(
        bool(value != values[0]) for value in values
    )
