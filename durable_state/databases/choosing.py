"""Chooses the class for a database, by its vendor."""

from __future__ import annotations

from typing import Any

from django.db import connections

from .database import Database
from .mysql import MySQL
from .postgresql import PostgreSQL
from .sqlite import SQLite

__all__ = ["VENDORS", "database_of", "find_database"]

VENDORS: dict[str, type[Database]] = {"postgresql": PostgreSQL, "mysql": MySQL, "sqlite": SQLite}
"""By ``connection.vendor``, which for MariaDB is "mysql" too."""


_KEPT = "_durable_state_database"
"""The attribute of a connection that keeps its database, which every statement needs."""


def find_database(using: str) -> Database:
    """The database of that alias, through the calling thread's connection."""
    return database_of(connections[using])


def database_of(connection: Any) -> Database:
    """The database at the other end of a connection. Only here is the vendor asked for."""
    kind = VENDORS.get(connection.vendor, Database)
    known: Database | None = vars(connection).get(_KEPT)
    if known is None or type(known) is not kind:
        known = vars(connection)[_KEPT] = kind(connection)
    return known
