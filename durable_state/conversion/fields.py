"""Chooses the conversion of each model field."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from django.db import models

from durable_state.conversion.charsets import character_set, misfit
from durable_state.conversion.custom_fields import is_computed

from . import numbers, texts, times
from .custom_fields import own_converter
from .documents import DOCUMENT, JsonNull, document, same_document
from .limits import KEY_BYTES, Limits, limits
from .postgres import part_by_part
from .refusal import Refused, shown

__all__ = [
    "absent",
    "convert",
    "convert_all",
    "converter",
    "gives_back_what_it_takes",
    "longest_plain_key",
    "same",
    "target_column",
    "wire_type",
]

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
"""By field class. The nearest class in a field's MRO counts, unless the field converts values in a
way of its own.
"""

OWN_WAYS = (
    "to_python",
    "get_prep_value",
    "get_db_prep_value",
    "get_db_prep_save",
    "from_db_value",
    "db_type",
)


def convert(field: models.Field[Any, Any], raw: Any, using: str | None = None) -> Any:
    """Converts one value for one field; see ``converter``. Raises: Refused."""
    return converter(field, using)(raw)


@lru_cache(maxsize=4096)
def converter(field: models.Field[Any, Any], using: str | None = None) -> Convert:
    """The function that turns a wire value into the field's value, or raises ``Refused`` and
    nothing else.

    It returns what a row that is read from the database would have. ``using`` is the alias of that
    database; without it, only values that every supported database holds are accepted (15 digits in
    a DecimalField, as SQLite; JSON nested 31 deep, as MariaDB). A foreign key takes its target
    column's values. None is accepted if the field may be NULL; for a JSONField it is JSON null,
    returned as ``JSON_NULL``.
    """
    column = target_column(field)
    inner = _value_converter(column, limits(using), using)
    is_document, nullable = isinstance(column, models.JSONField), field.null
    charset = character_set(using, column)

    def convert_value(raw: Any) -> Any:
        while isinstance(raw, enum.Enum):
            raw = raw.value
        if raw is None and not is_document:
            if nullable:
                return absent(column)
            raise Refused("null", "The column must not be NULL.")
        value = inner(raw)
        if charset is not None and isinstance(value, str):
            _check_characters(charset, value)
        return value

    return convert_value


def _check_characters(charset: str, value: str) -> None:
    """Raises: Refused, where MySQL would refuse the value, and even a query for it."""
    character = misfit(charset, value)
    if character is not None:
        raise Refused(
            "invalid",
            f"{shown(value)} holds {character!r} (U+{ord(character):04X}), which the column's"
            f" character set {charset} does not have.",
        )


def convert_all(
    field: models.Field[Any, Any], raws: Sequence[Any], using: str | None = None
) -> list[Any] | None:
    """Converts many values at once; None if they have to be converted one by one."""
    return times.moments(raws, limits(using)) if _factory(field) is times.date_and_time else None


def wire_type(field: models.Field[Any, Any]) -> tuple[Any, frozenset[type] | None]:
    """The type that a decoder may check values of the field by, and which of the types that it then
    returns need no ``converter`` (None: all of them).

    The ``converter`` refuses or changes no value of these types, except for texts with a NUL.
    """
    column = target_column(field)
    factory = _factory(column)
    value_type: Any = Any
    if factory is numbers.integer:
        low, high = numbers.integer_range(column)
        value_type = Annotated[int, msgspec.Meta(ge=low, le=high)]
    elif factory is numbers.boolean:
        value_type = bool
    elif factory is texts.unbounded_text or (
        factory is texts.text and not isinstance(column, models.FileField)
    ):
        longest = column.max_length if factory is texts.text else None
        value_type = str if longest is None else Annotated[str, msgspec.Meta(max_length=longest)]
    elif factory is document:
        return DOCUMENT, frozenset({bool, int, float, str, list, dict})
    if value_type is Any:
        return Any, frozenset()
    return (value_type | None if field.null else value_type), None


def longest_plain_key(field: models.Field[Any, Any]) -> int:
    """The longest key, in characters, that becomes the value of this key field without conversion,
    unless it holds a NUL; 0 if every key has to be converted.
    """
    if isinstance(field, models.FileField) or _factory(field) not in (
        texts.text,
        texts.unbounded_text,
    ):
        return 0
    longest = KEY_BYTES // 4
    return (
        longest
        if _factory(field) is texts.unbounded_text
        else min(longest, field.max_length or longest)
    )


def absent(field: models.Field[Any, Any]) -> str | None:
    """What a column without a value reads as: None, or "" for a file, as Django stores it."""
    return "" if isinstance(field, models.FileField) else None


def same(field: models.Field[Any, Any], stored: Any, wanted: Any) -> bool:
    """Whether a row's value equals the converted one: as JSON in a JSONField (``true`` is not 1,
    null is not NULL), else by Python's equality.
    """
    if _holds_documents(field) and isinstance(stored, list) and isinstance(wanted, list):
        return same_document(stored, wanted)
    if not isinstance(field, models.JSONField):
        return _are_equal(field, stored, wanted)
    if isinstance(stored, JsonNull) or isinstance(wanted, JsonNull):
        return type(stored) is type(wanted)
    if hasattr(stored, "resolve_expression"):
        stored = None
    if hasattr(wanted, "resolve_expression"):
        wanted = None
    return same_document(stored, wanted)


def _are_equal(field: models.Field[Any, Any], stored: Any, wanted: Any) -> bool:
    """Compares with ``==``; values that do not allow that, such as arrays of numbers, by what is
    stored of them.
    """
    try:
        return bool(stored == wanted)
    except Exception:
        try:
            return bool(field.get_prep_value(stored) == field.get_prep_value(wanted))
        except Exception:
            return False


def _holds_documents(field: models.Field[Any, Any]) -> bool:
    """Whether the field is an array of JSON documents, at any depth."""
    part = getattr(field, "base_field", None)
    return isinstance(part, models.JSONField) or (
        isinstance(part, models.Field) and _holds_documents(part)
    )


def gives_back_what_it_takes(field: models.Field[Any, Any]) -> bool:
    """Whether a row gives back exactly what the ``converter`` returned; if not, only the database
    knows what it gives back.
    """
    column = target_column(field)
    if is_computed(type(column)):
        return False
    if isinstance(column, models.JSONField) and (column.encoder or column.decoder):
        return False
    if _factory(column) is not None:
        return True
    if not type(column).__module__.startswith("django.contrib.postgres."):
        return False
    part = getattr(column, "base_field", None)
    if isinstance(part, models.Field):
        return gives_back_what_it_takes(part)
    return type(column).__name__ == "HStoreField"


def target_column(field: models.Field[Any, Any]) -> models.Field[Any, Any]:
    """The field itself, or the one whose values a foreign key holds."""
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    return field


def _value_converter(column: models.Field[Any, Any], bounds: Limits, using: str | None) -> Convert:
    if (factory := _factory(column)) is not None:
        return factory(column, bounds)
    part_converter = part_by_part(column, lambda base_field: converter(base_field, using))
    return part_converter or own_converter(column, using)


def _factory(column: models.Field[Any, Any]) -> Factory | None:
    """The factory of the field's conversion; None if the field has code of its own for it."""
    for plain in type(column).__mro__:
        if plain in FACTORIES:
            own = any(
                getattr(type(column), way, None) is not getattr(plain, way, None)
                for way in OWN_WAYS
            )
            return None if own and not _is_django(column) else FACTORIES[plain]
    return None


def _is_django(column: models.Field[Any, Any]) -> bool:
    return type(column).__module__.startswith("django.db.models.")
