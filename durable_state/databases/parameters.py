"""The driver's parameters for values, column by column.

What holds for a whole column need not be decided anew for each of its values.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from durable_state.conversion import JsonNull

__all__ = ["AS_THEY_ARE", "Columns", "documents_as_dumped", "encoded", "moments_in_utc", "quoted"]

Columns = dict[str | None, Sequence[Any]]
"""The parameters of each column, by name: one for each row, in order."""

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
"""Fields whose values of that very type every driver takes unchanged; all others go through
``get_db_prep_save``.
"""


def quoted(connection: BaseDatabaseWrapper, name: str | None) -> str:
    """A table's or column's name, quoted for a statement with parameters."""
    assert name is not None  # only what has no column, a relation to many, has no name
    return connection.ops.quote_name(name).replace("%", "%%")


def moments_in_utc(values: Sequence[datetime | None]) -> list[str | None] | None:
    """Moments as ``str()`` writes naive ones in UTC, encoded by one call.

    None if one of them is naive, or in another time zone.
    """
    written = _encode(values)
    if written.count(b"Z") + written.count(b"null") != len(values):
        return None
    return _decode_texts(written.replace(b"T", b" ").replace(b"Z", b""))


def documents_as_dumped(values: Sequence[Any]) -> list[str | None] | None:
    """JSON documents as ``json.dumps`` writes each, encoded by one call.

    None if only their field can encode them.
    """
    try:
        texts = _split(json.dumps(values, default=_json_null))
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return None
    return [
        None if value is None else str(text, "ascii")
        for value, text in zip(values, texts, strict=True)
    ]


def encoded(value: Any) -> str:
    """A JSON document, in any spelling. Raises: msgspec's errors."""
    return _encode(value).decode()


def _json_null(value: object) -> None:
    """Encodes the only value of documents that is not JSON itself."""
    if not isinstance(value, JsonNull):
        raise TypeError


_encode = msgspec.json.Encoder(enc_hook=_json_null).encode
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_texts = msgspec.json.Decoder(list[str | None]).decode
