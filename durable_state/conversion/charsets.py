"""Finds the columns of MySQL and MariaDB that cannot hold every character."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.db import connections, models

__all__ = ["character_set", "forget_charsets", "misfit"]

CODECS = {"latin1": "cp1252", "ascii": "ascii", "latin2": "iso8859-2", "cp1250": "cp1250",
          "cp1251": "cp1251", "greek": "iso8859-7", "koi8r": "koi8-r"}  # fmt: skip
"""Python's names for character sets of one byte."""
WIDE = ("utf8mb4", "utf16", "utf16le", "utf32", "gb18030", "binary")
"""Character sets that hold every character."""


def character_set(using: str | None, field: models.Field[Any, Any]) -> str | None:
    """The character set of a field's column; None if it holds every character."""
    if using is None or connections[using].vendor != "mysql":
        return None
    model = getattr(field, "model", None)
    if model is None or field.column is None:
        return None
    return _narrow_columns(using).get((model._meta.db_table.lower(), field.column.lower()))


def misfit(charset: str, text: str) -> str | None:
    """The first character that the character set lacks; None if it has them all."""
    if text.isascii():
        return None
    for character in text:
        if charset in CODECS:
            try:
                character.encode(CODECS[charset])
            except UnicodeEncodeError:
                return character
        elif ord(character) > 0xFFFF:
            return character
    return None


@lru_cache(maxsize=64)
def _narrow_columns(using: str) -> dict[tuple[str, str], str]:
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name, character_set_name FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND character_set_name IS NOT NULL"
        )
        return {
            (table.lower(), column.lower()): charset
            for table, column, charset in cursor.fetchall()
            if charset not in WIDE
        }


def forget_charsets() -> None:
    """Forgets what the databases said of their columns, so that they are asked again."""
    _narrow_columns.cache_clear()
