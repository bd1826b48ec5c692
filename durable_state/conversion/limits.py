"""What a database holds without loss, where the databases differ. The one place that asks which database it is."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, tzinfo
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from django.db import connections

__all__ = ["KEY_BYTES", "STRICTEST", "Limits", "largest_statement", "limits", "statement_bytes"]

KEY_BYTES = 2500
"""UTF-8 bytes of an entity key at most: an index entry of PostgreSQL ends at 2704 bytes, and a longer one is no mere data error there."""


class Limits(NamedTuple):
    """How much one database holds.

    ``decimal_digits``: significant digits that a decimal column gives back. ``json_depth``: levels of nesting in a JSON column.
    ``any_uuid``: whether all 128 bits of a UUID are free; MariaDB's own type refuses those with byte 6 from 0x80 on and byte 8 from 1 to
    0x80, which of all the versions in use only a rare version 8 has (measured on 10.11). ``zone``: the
    time zone in whose local times moments are kept, where the project's DATABASES names another than UTC.
    """

    decimal_digits: int
    json_depth: int
    any_uuid: bool
    zone: tzinfo | None = None


STRICTEST = Limits(decimal_digits=15, json_depth=31, any_uuid=False)
"""What every supported database holds."""


def limits(using: str | None) -> Limits:
    """The limits of the database of that alias; without one, those that hold for every database."""
    if using is None:
        return STRICTEST
    connection = connections[using]
    zone = None if connection.features.supports_timezones else connection.timezone
    zone = None if zone is UTC else zone
    if connection.vendor == "sqlite":
        # Decimals are kept as doubles.
        return Limits(decimal_digits=15, json_depth=500, any_uuid=True, zone=zone)
    if connection.vendor == "mysql":
        # MariaDB's json_valid() ends at 31 levels, MySQL's JSON at 100.
        is_mariadb = getattr(connection, "mysql_is_mariadb", False)
        return Limits(
            decimal_digits=65,
            json_depth=31 if is_mariadb else 100,
            any_uuid=not is_mariadb,
            zone=zone,
        )
    return Limits(decimal_digits=1000, json_depth=500, any_uuid=True)


_largest: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""By the driver's connection, for which MySQL fixes it when it is opened."""


def largest_statement(using: str) -> int | None:
    """The bytes of the longest statement that the database takes, values included; None where there is no limit to speak of.

    MySQL's ``max_allowed_packet``: it answers a longer statement by hanging up.
    """
    connection = connections[using]
    if connection.vendor != "mysql":
        return None
    connection.ensure_connection()
    if connection.connection not in _largest:
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@SESSION.max_allowed_packet")
            _largest[connection.connection] = cursor.fetchone()[0]
    return _largest[connection.connection]


def statement_bytes(values: Iterable[Any]) -> int:
    """The bytes of texts and bytes, of many or of one, as they stand in a statement of MySQL's; other values are short."""
    total = 0
    for value in values:
        if isinstance(value, str):
            value = value.encode("utf-8", "surrogatepass")
        if isinstance(value, (bytes, bytearray, memoryview)):
            raw = bytes(value)
            total += len(raw) + sum(map(raw.count, _ESCAPED)) + 10
        else:
            total += 30
    return total


_ESCAPED = (b"\0", b"\n", b"\r", b"\\", b"'", b'"', b"\x1a")
