"""E009, W015, W017, W018, W022: how a database stores keys and values.

Looks only at its catalog.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from django.core import checks
from django.core.exceptions import FieldDoesNotExist
from django.db import DatabaseError, connections, models, router

from durable_state.conversion.charsets import character_set, forget_charsets
from durable_state.databases import find_database
from durable_state.models import Stream
from durable_state.registry import EntityMapping, Registry

from .report import fault, warning

__all__ = ["check_database"]

PACKET_BYTES = 16 * 1024 * 1024
"""Bytes of the longest statement that MySQL and MariaDB accept by default, at least."""

EXACT_DIGITS = 15
"""Decimal digits that SQLite, which stores doubles, returns unchanged."""


def check_database(registry: Registry, aliases: Sequence[str]) -> list[checks.CheckMessage]:
    """Checks how the databases of these aliases store the mapped tables.

    A table that does not exist yet is skipped.
    """
    found: list[checks.CheckMessage] = []
    forget_charsets()
    for alias in aliases:
        database = find_database(alias)
        if database.compares_by_collation and router.allow_migrate_model(alias, Stream):
            with suppress(DatabaseError):  # Django's own checks say so
                found += _check_connection(alias)
        for mapping in registry:
            if not _has_table(mapping, alias):
                continue
            try:
                if database.compares_by_collation:
                    found += _check_collations(mapping, alias)
                    found += _check_character_sets(mapping, alias)
                elif database.keeps_decimals_as_floats:
                    found += _check_decimals(mapping)
            except (DatabaseError, FieldDoesNotExist, TypeError, AttributeError):
                continue  # the database's own checks, or E002 to E006, say so
    return found


def _has_table(mapping: EntityMapping, alias: str) -> bool:
    model = getattr(mapping, "model", None)
    if not (isinstance(model, type) and issubclass(model, models.Model)):
        return False  # E001 says so
    if model is models.Model or model._meta.abstract:
        return False
    return router.allow_migrate_model(alias, model)


def _check_collations(mapping: EntityMapping, alias: str) -> Iterator[checks.CheckMessage]:
    for role in ("key_field", "stream_field"):
        name: Any = getattr(mapping, role, None)
        if name is None:
            continue
        field = mapping.field(name)
        collation = _collation(alias, mapping.model._meta.db_table, str(field.column))
        if collation is None:
            continue  # not a text column, or no table yet

        where = f"`{role}` {name!r} has the collation {collation} in the database {alias!r}"
        column = f"{mapping.model._meta.label}.{name}"
        if not collation.endswith("_bin") and collation != "binary":
            yield fault(
                mapping,
                9,
                f"{where}, which treats different texts as equal ('a' and 'A', 'e' and 'é').",
                f'Set db_collation="utf8mb4_bin" on {column} and migrate.',
            )
        elif role == "key_field" and _pads(collation):
            better = find_database(alias).exact_collation
            yield warning(
                mapping,
                15,
                f"{where}, which treats keys that differ only in trailing spaces as equal:"
                " the second one stays parked.",
                f'Where such keys occur, set db_collation="{better}" on {column} and migrate.',
            )


def _pads(collation: str) -> bool:
    """Returns whether the collation ignores trailing spaces."""
    return not ("_nopad_" in collation or "_0900_" in collation or collation == "binary")


def _check_character_sets(mapping: EntityMapping, alias: str) -> Iterator[checks.CheckMessage]:
    narrow = {
        field.name: charset
        for field in (mapping.key, *mapping.mapped_fields)
        if (charset := character_set(alias, field)) is not None
    }
    if narrow:
        named = ", ".join(f"{name!r} ({charset})" for name, charset in narrow.items())
        yield warning(
            mapping,
            18,
            f"In the database {alias!r} the character set of {named} does not have every character:"
            " values with an emoji, say, become dead letters.",
            f"ALTER TABLE {mapping.model._meta.db_table} CONVERT TO CHARACTER SET utf8mb4 (with the"
            " collation that you want), then restart the workers.",
        )


def _check_connection(alias: str) -> Iterator[checks.CheckMessage]:
    """W022: the connection's character set, and how long a statement may be."""
    charset = connections[alias].settings_dict.get("OPTIONS", {}).get("charset", "utf8mb4")
    if charset != "utf8mb4":
        yield checks.Warning(
            f"The connection to the database {alias!r} has the character set {charset!r}: a message"
            " with other characters stops its stream.",
            f'Leave "charset" out of DATABASES[{alias!r}]["OPTIONS"], or set it to "utf8mb4".',
            id="durable_state.W022",
        )
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        (largest,) = cursor.fetchone()
    if largest < PACKET_BYTES:
        yield checks.Warning(
            f"The database {alias!r} takes {largest} bytes in one statement: messages of a third of"
            " that may become dead letters.",
            f"Set max_allowed_packet to {PACKET_BYTES} (16 MiB) or more in the server's"
            " configuration.",
            id="durable_state.W022",
        )


def _collation(alias: str, table: str, column: str) -> str | None:
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT collation_name FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND table_name = %s AND column_name = %s",
            [table, column],
        )
        row = cursor.fetchone()
    return None if row is None else row[0]


def _check_decimals(mapping: EntityMapping) -> Iterator[checks.CheckMessage]:
    for field in (mapping.key, *mapping.mapped_fields):
        if (
            isinstance(field, models.DecimalField)
            and (field.max_digits or EXACT_DIGITS) > EXACT_DIGITS
        ):
            yield warning(
                mapping,
                17,
                f"{field.name!r} has {field.max_digits} digits,"
                f" of which SQLite keeps {EXACT_DIGITS}: longer values are refused.",
                "Use PostgreSQL or MySQL where such values occur, or a text field.",
            )
