"""What fields get that a change leaves out: their default.

One that says something else each time (the moment, a random token) is made once for an entity, and
kept: nobody could tell it again, and a replay that made it anew would change every row.

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
"""How often a default is asked, to see whether it says the same."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """A default that was made for a change, and counts only where its entity has no value yet."""

    value: Any


def has_fresh(values: Values) -> bool:
    """Whether any of the values gives way to what the entity has."""
    return Fresh in map(type, values)


def overlay(under: Values, over: Values) -> Values:
    """The values of ``over``, and for what it leaves out those of ``under``."""
    return tuple(
        below if above is UNSET or (type(above) is Fresh and below is not UNSET) else above
        for below, above in zip(under, over, strict=True)
    )


def overlay_raw(under: Values, over: Values, over_values: Values) -> Values:
    """The same of what the wire said;
    ``over_values`` tells what was left open: no constant default.
    """
    return tuple(
        below if (value is UNSET or type(value) is Fresh) and below is not UNSET else above
        for below, above, value in zip(under, over, over_values, strict=True)
    )


def settle(values: Values) -> Values:
    """The values of an entity that has none yet."""
    if not has_fresh(values):
        return values
    return tuple(value.value if type(value) is Fresh else value for value in values)


def value_left_out(planned: PlannedField) -> Any:
    """The field's default, or NULL. Raises:
    Refused, where there is none and NULL is not allowed.
    """
    default = _default(planned)
    if default is not None:
        is_kept = not planned.is_relation and _says_something_else(planned.field)
        return Fresh(default) if is_kept else default
    if not planned.field.null:
        raise Refused("null", f"{planned.name} is left out, has no default and must not be NULL.")
    return absent(planned.field)


def _default(planned: PlannedField) -> Any:
    """A field's default as it reads once it was stored, so that a row that has it is equal."""
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
        )  # looser: no stream may say 5 for a text, the application may


@lru_cache(maxsize=4096)
def _says_something_else(field: models.Field[Any, Any]) -> bool:
    """Whether the default is another one each time; of a function, as far as a few calls show.

    Moments, times and days always are.
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
