"""The available databases, created for the run and emptied before each measurement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.core.management.color import no_style
from django.db import connections

from tests.services import missing

__all__ = ["ALIASES", "at_hand", "connection_settings", "empty", "versions"]

ALIASES = ("default", "postgres", "mysql")

versions: dict[str, str] = {}
"""The name and the version of each created database, by alias."""


def at_hand(wanted: Sequence[str]) -> Iterator[str]:
    """Each alias, while its database exists; says which ones are missing."""
    for alias in wanted:
        if alias in connections:
            with _made(alias):
                versions[alias] = _version(connections[alias])
                yield alias
        else:
            print(f"{alias} is left out: {missing.get(alias, 'it is not in the settings')}")


def connection_settings(alias: str) -> dict[str, Any]:
    """The database of that alias, as a separate process gets it in BENCH_DATABASE."""
    settings = connections[alias].settings_dict
    names = ("ENGINE", "NAME", "HOST", "PORT", "USER", "PASSWORD", "OPTIONS")
    return {name: settings[name] for name in names}


def _version(connection: Any) -> str:
    if connection.vendor == "sqlite":
        numbers = connection.Database.sqlite_version_info
    elif connection.vendor == "postgresql":
        numbers = divmod(connection.pg_version, 10_000)
    else:
        numbers = connection.mysql_version
    return f"{connection.display_name} {'.'.join(map(str, numbers))}"


def empty(alias: str) -> None:
    """Empties all tables, so that the next one finds nothing."""
    connection = connections[alias]
    labels = ("bench", "durable_state")
    models = [model for label in labels for model in apps.get_app_config(label).get_models()]
    tables = [model._meta.db_table for model in models]
    connection.ops.execute_sql_flush(
        connection.ops.sql_flush(no_style(), tables, reset_sequences=True)
    )
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


@contextmanager
def _made(alias: str) -> Iterator[None]:
    creation, name = connections[alias].creation, connections[alias].settings_dict["NAME"]
    creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        creation.destroy_test_db(name, verbosity=0)
