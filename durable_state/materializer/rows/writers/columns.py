"""Which columns a statement names, and the driver's parameters for them.

Column by column rather than row by row, because what can be decided for a whole column need not be asked again for each of its values.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from types import NoneType
from typing import Any

import msgspec
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.operations import BaseDatabaseOperations

from durable_state.conversion import JsonNull
from durable_state.conversion.own import is_computed

from ...plan import TypePlan
from .row import RowWrite

__all__ = [
    "AS_THEY_ARE",
    "Columns",
    "insert_columns",
    "key_parameters",
    "quoted",
    "save_parameters",
    "update_columns",
]

Columns = dict[str | None, Sequence[Any]]
"""The parameters of each column, by the column's name; one for each write, in their order."""

AS_THEY_ARE: dict[type[models.Field[Any, Any]], type] = {
    models.AutoField: int,
    models.BigAutoField: int,
    models.BigIntegerField: int,
    models.BooleanField: bool,
    models.CharField: str,
    models.FloatField: float,
    models.IntegerField: int,
    models.PositiveBigIntegerField: int,
    models.PositiveIntegerField: int,
    models.PositiveSmallIntegerField: int,
    models.SlugField: str,
    models.SmallAutoField: int,
    models.SmallIntegerField: int,
    models.TextField: str,
}
"""Fields whose values of that very type every driver takes unchanged; all others go through ``get_db_prep_save``."""


def insert_columns(
    plan: TypePlan, writes: Sequence[RowWrite], connection: BaseDatabaseWrapper
) -> Columns | None:
    """Everything that an insert says of the rows: key, stream, mapped columns, and the defaults of the application's own.

    Columns that the database fills are left out. None where only the ORM can tell what to insert.
    """
    fields = [field for field in plan.mapping.model._meta.concrete_fields if not field.generated]
    if not all(map(_saves_plainly, fields)):
        return None
    mapped = dict(
        zip(plan.places, zip(*(write.values for write in writes), strict=True), strict=True)
    )
    own: models.Model | None = None
    columns: Columns = {}
    for field in fields:
        values: Sequence[Any]
        if field is plan.mapping.key:
            values = [write.key_value for write in writes]
        elif field.attname in mapped:
            values = mapped[field.attname]
        elif field.attname in plan.scope:
            values = [plan.scope[field.attname]]
        elif isinstance(field, models.AutoField) or field.has_db_default():
            continue
        elif field.has_default() and callable(field.default):
            values = [field.get_default() for _ in writes]
        else:
            own = own or plan.mapping.model()
            values = [field.pre_save(own, True)]
        parameters = save_parameters(field, values, connection)
        if parameters is None:
            return None
        columns[field.column] = (
            parameters if len(parameters) == len(writes) else [parameters[0]] * len(writes)
        )
    return columns


def update_columns(
    plan: TypePlan, writes: Sequence[RowWrite], connection: BaseDatabaseWrapper
) -> Columns | None:
    """The mapped columns of the rows, and behind them the primary key. None where only the ORM can tell what to set."""
    key = plan.mapping.model._meta.pk
    if key.column is None:
        return None  # a composite one
    columns: Columns = {}
    of_each = zip(*(write.values for write in writes), strict=True)
    for planned, values in zip(plan.fields, of_each, strict=True):
        parameters = (
            None
            if is_computed(planned.field)
            else save_parameters(planned.field, values, connection)
        )
        if parameters is None:
            return None
        columns[planned.field.column] = parameters
    pks = save_parameters(
        key, [write.existing.pk for write in writes if write.existing is not None], connection
    )
    if pks is None:
        return None
    columns[key.column] = pks
    return columns


def quoted(connection: BaseDatabaseWrapper, name: str | None) -> str:
    """A table's or column's name as it stands in a statement with parameters."""
    assert name is not None  # only what has no column, a relation to many, has no name
    return connection.ops.quote_name(name).replace("%", "%%")


def key_parameters(
    field: models.Field[Any, Any], values: Sequence[Any], connection: BaseDatabaseWrapper
) -> list[Any]:
    """The parameters for values of a field that rows are found by."""
    if set(map(type, values)) == {AS_THEY_ARE.get(type(field))}:
        return list(values)
    return [field.get_db_prep_value(value, connection) for value in values]


def save_parameters(
    field: models.Field[Any, Any], values: Sequence[Any], connection: BaseDatabaseWrapper
) -> Sequence[Any] | None:
    """The parameters for values that are saved, as ``get_db_prep_save`` makes them. None where one of them is an expression (a db_default)."""
    plain = AS_THEY_ARE.get(type(field))
    if plain is not None and set(map(type, values)) <= {plain, NoneType}:
        return values
    if type(field) is models.DateTimeField and set(map(type, values)) <= {datetime, NoneType}:
        return _moments(values, connection)
    if type(field) is models.JSONField and field.encoder is None:
        documents = _documents(values, connection)
        if documents is not None:
            return documents
    prepared = [field.get_db_prep_save(value, connection) for value in values]
    return None if any(hasattr(value, "as_sql") for value in prepared) else prepared


def _moments(values: Sequence[datetime | None], connection: BaseDatabaseWrapper) -> list[Any]:
    """Values of a DateTimeField already, so that only the database's form is left to be made."""
    if connection.vendor in ("sqlite", "mysql") and connection.timezone is UTC:
        # It is str() of the naive one, made here by one call for all of them.
        written = _encode(values)
        if written.count(b"Z") + written.count(b"null") == len(
            values
        ):  # none is naive, or in another zone
            return _texts(written.replace(b"T", b" ").replace(b"Z", b""))
    return list(map(connection.ops.adapt_datetimefield_value, values))


def _documents(values: Sequence[Any], connection: BaseDatabaseWrapper) -> list[Any] | None:
    """The documents as ``json.dumps`` writes each, but by one call for all of them; None where the field has to be asked."""
    try:
        if (
            connection.vendor == "postgresql"
        ):  # which keeps documents taken apart: their text does not matter
            return [None if value is None else _encode(value).decode() for value in values]
        if type(connection.ops).adapt_json_value is not BaseDatabaseOperations.adapt_json_value:
            return None
        texts = _split(json.dumps(values, default=_json_null))
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return None
    return [
        None if value is None else str(text, "ascii")
        for value, text in zip(values, texts, strict=True)
    ]


def _json_null(value: object) -> None:
    """The one value of documents that is not JSON itself."""
    if not isinstance(value, JsonNull):
        raise TypeError


_encode = msgspec.json.Encoder(enc_hook=_json_null).encode
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_texts = msgspec.json.Decoder(list[str | None]).decode


def _saves_plainly(field: models.Field[Any, Any]) -> bool:
    return not is_computed(field) and _is_django(type(field).pre_save)


def _is_django(method: Any) -> bool:
    return bool(method.__module__.startswith(("django.db.models.", "django.contrib.postgres.")))
