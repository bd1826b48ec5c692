"""Which conversion a model field gets."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from django.db import models

from durable_state.conversion.charsets import character_set, misfit
from durable_state.conversion.own import is_computed

from . import numbers, texts, times
from .documents import DOCUMENT, JsonNull, document, same_document
from .limits import KEY_BYTES, Limits, limits
from .own import own_converter
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
"""By field class; the nearest class of a field's MRO counts, unless the field converts values in
its own way.
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
    """One value for one field; see ``converter``. Raises: Refused."""
    return converter(field, using)(raw)


@lru_cache(maxsize=4096)
def converter(field: models.Field[Any, Any], using: str | None = None) -> Convert:
    """The function that turns a wire value into the field's value, or raises ``Refused`` and
    nothing else.

    What it returns is what a row read from the database has. ``using`` is the alias of that
    database; without it, only what every supported database holds is taken (15 digits in a
    DecimalField, as SQLite; JSON nested 31 deep, as MariaDB). A foreign key takes its target
    column's values. None is taken where the field may be NULL; in a JSONField it is JSON null,
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
    """What the ``converter`` makes of many values, where that is told for all at once."""
    return times.moments(raws, limits(using)) if _factory(field) is times.date_and_time else None


def wire_type(field: models.Field[Any, Any]) -> tuple[Any, frozenset[type] | None]:
    """What a decoder may take for the field, and which types of what it gives the ``converter``
    leaves as they are (None: all).

    Whatever has that type and is refused, or changed, by the ``converter`` is of another type than
    those; a NUL in a text excepted.
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
    """The number of characters up to which any key without NUL is the value of this key field, as
    it is; 0 where it never is.
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
    """What a column without a value reads as: a file's as "", which Django writes for its None."""
    return "" if isinstance(field, models.FileField) else None


def same(field: models.Field[Any, Any], stored: Any, wanted: Any) -> bool:
    """Whether a value of a row is the converted one: for JSON as JSON (``true`` is not 1, null is
    not NULL), else Python's equality.
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
    """Python's equality; of values that do not say whether they are equal (an array of numbers),
    that of what is stored of them.
    """
    try:
        return bool(stored == wanted)
    except Exception:
        try:
            return bool(field.get_prep_value(stored) == field.get_prep_value(wanted))
        except Exception:
            return False


def _holds_documents(field: models.Field[Any, Any]) -> bool:
    """Whether it is an array of documents, to any depth."""
    part = getattr(field, "base_field", None)
    return isinstance(part, models.JSONField) or (
        isinstance(part, models.Field) and _holds_documents(part)
    )


def gives_back_what_it_takes(field: models.Field[Any, Any]) -> bool:
    """Whether a row gives back just what the ``converter`` makes; else only the database tells
    what.
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
    """None for a field that converts in its own way."""
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
