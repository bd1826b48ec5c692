"""What a database holds without loss, where the databases differ. The one place that asks which database it is."""

from __future__ import annotations

from typing import NamedTuple

from django.db import connections

__all__ = ["KEY_BYTES", "STRICTEST", "Limits", "limits"]

KEY_BYTES = 2500
"""UTF-8 bytes of an entity key at most: an index entry of PostgreSQL ends at 2704 bytes, and a longer one is no mere data error there."""


class Limits(NamedTuple):
    """``decimal_digits``: significant digits that a decimal column gives back. ``json_depth``: levels of nesting in a JSON column."""

    decimal_digits: int
    json_depth: int


STRICTEST = Limits(decimal_digits=15, json_depth=31)
"""What every supported database holds."""


def limits(using: str | None) -> Limits:
    """The limits of the database of that alias; without one, those that hold for every database."""
    if using is None:
        return STRICTEST
    connection = connections[using]
    if connection.vendor == "sqlite":
        return Limits(decimal_digits=15, json_depth=500)  # decimals are kept as doubles
    if connection.vendor == "mysql":
        # MariaDB's json_valid() ends at 31 levels, MySQL's JSON at 100.
        return Limits(decimal_digits=65, json_depth=31 if getattr(connection, "mysql_is_mariadb", False) else 100)
    return Limits(decimal_digits=1000, json_depth=500)
