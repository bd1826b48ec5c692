"""Reads tables as of one moment, while others continue to write.

Why: decision 24.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction

from .callers import CallerState
from .choosing import find_database
from .transaction import commit_transaction

__all__ = ["one_moment"]


@contextmanager
def one_moment(using: str) -> Iterator[str]:
    """Gives the alias through which every table is as it is now, for as long as the block runs.

    That alias is a connection of its own, in a transaction that sees one snapshot from its first
    query on, takes no lock and must not write. Where a database has no such thing beside its
    writers, as SQLite without WAL, the alias is ``using`` itself, and the block is a transaction
    in which a lock keeps writers out.
    """
    options = find_database(using).snapshot_options()
    if options is None:
        with commit_transaction(using):
            yield using
        return

    alias = f"{using} at one moment"
    settings = copy.deepcopy(connections[using].settings_dict)
    settings["OPTIONS"].pop("pool", None)  # a pool is made for each alias, and would outlive it
    settings["OPTIONS"] |= options
    connection: Any = type(connections[using])(settings, alias)
    connections[alias] = connection
    try:
        CallerState.of(using).set_on(connection)
        with transaction.atomic(using=alias):
            yield alias
    finally:
        connection.close()
        del connections[alias]
