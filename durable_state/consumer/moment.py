"""Reading a stream's tables as one moment shows them, while its consumer goes on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction

from durable_state.models import Stream

from .transaction import commit_transaction

__all__ = ["at_one_moment"]


@contextmanager
def at_one_moment(stream: Stream) -> Iterator[Stream]:
    """The stream's row, and through its database alias (``_state.db``) every table, as they are now, for as long as the block runs.

    That alias is a connection of its own, in a transaction that sees one snapshot, takes no lock and must not write. Where a database has
    no such thing beside its writers, as SQLite without WAL, the alias is the usual one, and the block is a transaction that keeps
    writers out. Raises: Stream.DoesNotExist.
    """
    using = stream._state.db or "default"
    options = _snapshot_options(connections[using])
    if options is None:
        with commit_transaction(using):
            yield Stream.objects.using(using).select_for_update().get(pk=stream.pk)
        return
    alias = f"{using} at one moment"
    settings = copy.deepcopy(connections[using].settings_dict)
    settings["OPTIONS"].pop("pool", None)  # a pool is made for each alias, and would outlive it
    settings["OPTIONS"] |= options
    connection: Any = type(connections[using])(settings, alias)
    connections[alias] = connection
    try:
        with transaction.atomic(using=alias):
            yield Stream.objects.using(alias).get(pk=stream.pk)  # the first query fixes the moment
    finally:
        connection.close()
        del connections[alias]


def _snapshot_options(connection: Any) -> dict[str, Any] | None:
    """What makes a transaction of the database see one snapshot."""
    if connection.vendor == "postgresql":
        from django.db.backends.postgresql.psycopg_any import IsolationLevel  # needs the driver

        return {"isolation_level": IsolationLevel.REPEATABLE_READ}
    if connection.vendor == "mysql":
        return {"isolation_level": "repeatable read"}
    if connection.vendor == "sqlite" and _has_wal(connection):
        return {"transaction_mode": "DEFERRED"}
    return None


def _has_wal(connection: Any) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        return bool(cursor.fetchone()[0] == "wal")
