"""E009, W015, W017: what a database makes of keys and values. Looks at its catalog only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core import checks
from django.core.exceptions import FieldDoesNotExist
from django.db import DatabaseError, connections, models, router

from durable_state.registry import EntityMapping, Registry

from .report import fault, warning

__all__ = ["check_database"]

EXACT_DIGITS = 15
"""Decimal digits that SQLite, which keeps doubles, gives back."""


def check_database(registry: Registry, aliases: Sequence[str]) -> list[checks.CheckMessage]:
    """What the databases of these aliases make of the mapped tables. A table that is not there yet is passed over."""
    found: list[checks.CheckMessage] = []
    for alias in aliases:
        vendor = connections[alias].vendor
        for mapping in registry:
            model = getattr(mapping, "model", None)
            if (
                not (isinstance(model, type) and issubclass(model, models.Model))
                or model._meta.abstract
            ):
                continue  # E001 says so
            if not router.allow_migrate_model(alias, model):
                continue
            try:
                if vendor == "mysql":
                    found += _check_collations(mapping, alias)
                elif vendor == "sqlite":
                    found += _check_decimals(mapping)
            except (DatabaseError, FieldDoesNotExist, TypeError, AttributeError):
                continue  # the database's own checks, or E002 to E006, say so
    return found


def _check_collations(mapping: EntityMapping, alias: str) -> Iterator[checks.CheckMessage]:
    for role in ("key_field", "stream_field"):
        name: Any = getattr(mapping, role, None)
        if name is None:
            continue
        field = mapping.field(name)
        collation = _collation(alias, mapping.model._meta.db_table, str(field.column))
        if collation is None:
            continue  # no text, or no table yet
        where = f"`{role}` {name!r} has the collation {collation} in the database {alias!r}"
        if not collation.endswith("_bin") and collation != "binary":
            yield fault(
                mapping,
                9,
                f"{where}, which takes different texts for the same ('a' and 'A', 'e' and 'é').",
                f'Set db_collation="utf8mb4_bin" on {mapping.model._meta.label}.{name} and migrate.',
            )
        elif (
            role == "key_field"
            and "_nopad_" not in collation
            and "_0900_" not in collation
            and collation != "binary"
        ):
            is_mariadb = getattr(connections[alias], "mysql_is_mariadb", False)
            better = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
            yield warning(
                mapping,
                15,
                f"{where}, which takes keys that differ in trailing spaces only for the same: the second one stays parked.",
                f'Where such keys occur, set db_collation="{better}" on {mapping.model._meta.label}.{name} and migrate.',
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
                f"{field.name!r} has {field.max_digits} digits, of which SQLite keeps {EXACT_DIGITS}: longer values are refused.",
                "Use PostgreSQL or MySQL where such values occur, or a text field.",
            )
