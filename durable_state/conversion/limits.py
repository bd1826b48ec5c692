"""How much of a value each database holds without loss, where they differ."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import NamedTuple

from django.db import connections

__all__ = ["EXACT", "KEY_BYTES", "STRICTEST", "Limits", "limits"]

EXACT = 2**53
"""From here on, doubles skip some integers: JavaScript's numbers, and JSON numbers with a point or
an exponent, which are read as doubles.
"""

KEY_BYTES = 2500
"""The longest entity key, in bytes of UTF-8.

An index entry of PostgreSQL ends at 2704 bytes; a longer one is no mere data error there.
"""


class Limits(NamedTuple):
    """How much one database holds.

    ``decimal_digits``: significant digits that a decimal column gives back. ``json_depth``: levels
    of nesting in a JSON column. ``any_uuid``: whether all 128 bits of a UUID are free; MariaDB's
    own type refuses those with byte 6 from 0x80 on and byte 8 from 1 to 0x80, which among the
    versions in use only the rare version 8 may have (measured on 10.11). ``zone``: the time zone in
    whose local time moments are kept, if the project's DATABASES name one other than UTC.
    """

    decimal_digits: int
    json_depth: int
    any_uuid: bool
    zone: tzinfo | None = None


STRICTEST = Limits(decimal_digits=15, json_depth=31, any_uuid=False)
"""What every supported database holds."""


def limits(using: str | None) -> Limits:
    """The limits of the database with that alias; without one, those of all databases together."""
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
