"""Which conversion a model field gets."""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from . import numbers, texts, times
from .documents import document, same_document
from .limits import Limits, limits
from .refusal import Refused, shown, storable_text

__all__ = ["convert", "converter", "same"]

Convert = Callable[[Any], Any]
Factory = Callable[[Any, Limits], Convert]

FACTORIES: dict[type[models.Field[Any, Any]], Factory] = {
    models.BooleanField: numbers.boolean,
    models.IntegerField: numbers.integer,
    models.FloatField: numbers.floating,
    models.DecimalField: numbers.decimal_number,
    models.CharField: texts.text,
    models.FileField: texts.text,
    models.FilePathField: texts.text,
    models.TextField: texts.unbounded_text,
    models.BinaryField: texts.binary,
    models.UUIDField: texts.universally_unique,
    models.GenericIPAddressField: texts.address,
    models.DateTimeField: times.date_and_time,
    models.DateField: times.date,
    models.TimeField: times.time,
    models.DurationField: times.duration,
    models.JSONField: document,
}
"""By field class; the nearest class of a field's MRO counts, unless the field converts values in its own way."""

OWN_WAYS = ("to_python", "get_prep_value", "get_db_prep_value", "get_db_prep_save", "from_db_value", "db_type")


def convert(field: models.Field[Any, Any], raw: Any, using: str | None = None) -> Any:
    """One value for one field; see ``converter``. Raises: Refused."""
    return converter(field, using)(raw)


@lru_cache(maxsize=4096)
def converter(field: models.Field[Any, Any], using: str | None = None) -> Convert:
    """The function that turns a wire value into the field's value, or raises ``Refused`` and nothing else.

    What it returns is what a row read from the database has. ``using`` is the alias of that database; without it, only what every
    supported database holds is taken (15 digits in a DecimalField, as SQLite; JSON nested 31 deep, as MariaDB). A foreign key takes its
    target column's values. None is taken where the field may be NULL; in a JSONField it is JSON null, returned as ``JSON_NULL``.
    """
    column = field
    while isinstance(column, models.ForeignKey):
        column = column.target_field
    inner = _value_converter(column, limits(using), using)
    is_document, nullable = isinstance(column, models.JSONField), field.null
    absent = "" if isinstance(column, models.FileField) else None  # Django writes a file's None as ""

    def convert_value(raw: Any) -> Any:
        while isinstance(raw, enum.Enum):
            raw = raw.value
        if raw is None and not is_document:
            if nullable:
                return absent
            raise Refused("null", "The column must not be NULL.")
        return inner(raw)

    return convert_value


def same(field: models.Field[Any, Any], stored: Any, wanted: Any) -> bool:
    """Whether a value read from a row is the converted one: for JSON as JSON (``true`` is not 1), else Python's equality."""
    if not isinstance(field, models.JSONField):
        return bool(stored == wanted)
    return same_document(*(None if hasattr(value, "resolve_expression") else value for value in (stored, wanted)))


def _value_converter(column: models.Field[Any, Any], bounds: Limits, using: str | None) -> Convert:
    for plain in type(column).__mro__:
        if plain in FACTORIES:
            if all(getattr(type(column), way, None) is getattr(plain, way, None) for way in OWN_WAYS) or _is_django(
                column
            ):
                return FACTORIES[plain](column, bounds)
            break
    return _postgres_converter(column, using) or _own_converter(column)


def _is_django(column: models.Field[Any, Any]) -> bool:
    return type(column).__module__.startswith("django.db.models.")


def _own_converter(column: models.Field[Any, Any]) -> Convert:
    """For a field with ways of its own: whatever its ``to_python`` takes."""
    longest: int | None = column.max_length if isinstance(column, models.CharField) else None

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
        return value

    return convert_value


def _postgres_converter(column: models.Field[Any, Any], using: str | None) -> Convert | None:
    """For PostgreSQL's array and hstore fields, which convert part by part."""
    if not type(column).__module__.startswith("django.contrib.postgres."):
        return None  # a subclass of them goes through its to_python
    base_field = getattr(column, "base_field", None)
    if type(column).__name__ == "ArrayField" and base_field is not None:
        part = converter(base_field, using)
        return lambda raw: [part(each) for each in _sequence(raw)]
    if type(column).__name__ == "HStoreField":
        return _hstore
    return None


def _sequence(raw: Any) -> list[Any] | tuple[Any, ...]:
    if isinstance(raw, (list, tuple)):
        return raw
    raise Refused("type", f"{shown(raw)} is no list.")


def _hstore(raw: Any) -> dict[str, str | None]:
    if not isinstance(raw, dict):
        raise Refused("type", f"{shown(raw)} is no object.")
    for text in (*raw.keys(), *(value for value in raw.values() if value is not None)):
        if not isinstance(text, str):
            raise Refused("type", f"{shown(text)} is no text, and an hstore holds nothing else.")
        storable_text(text)
    return dict(raw)
