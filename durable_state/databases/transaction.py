"""The transaction of one commit, which cannot outlive its worker's lease."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import Error, connections, transaction

from durable_state.conf import get_settings

from .statements import bounded_statements

__all__ = ["commit_transaction"]


@contextmanager
def commit_transaction(using: str) -> Iterator[None]:
    """Opens a transaction that sees what others commit, and whose locks the server itself ends, should this process freeze inside it.

    READ COMMITTED, whatever level the project asks for: who takes a lock must then see what its last holder wrote.

    Waiting for a lock, and being idle inside the transaction, are both bounded by half the lease, so that a frozen worker never blocks
    the one that takes over. SQLite has no server: it takes its write lock at BEGIN, and the operating system frees it with the process.
    Inside another atomic block (a user's TestCase) it is a savepoint.
    """
    connection = connections[using]
    if connection.in_atomic_block:
        with transaction.atomic(using=using):
            yield
        return
    with _VENDORS.get(connection.vendor, _plain)(
        connection, max(1, int(get_settings().lease_seconds / 2))
    ):
        yield


@contextmanager
def _plain(connection: Any, seconds: int) -> Iterator[None]:
    with transaction.atomic(using=connection.alias):
        yield


@contextmanager
def _postgresql(connection: Any, seconds: int) -> Iterator[None]:
    with transaction.atomic(using=connection.alias):
        with connection.cursor() as cursor:
            cursor.execute(
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;"
                f" SET LOCAL lock_timeout = '{seconds}s'; SET LOCAL idle_in_transaction_session_timeout = '{seconds}s'"
            )
        yield


@contextmanager
def _mysql(connection: Any, seconds: int) -> Iterator[None]:
    # MySQL has no timeout for idle transactions alone; there the connection's own is lowered for the time of the transaction.
    idle = "idle_transaction_timeout" if connection.mysql_is_mariadb else "wait_timeout"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT @@SESSION.innodb_lock_wait_timeout, @@SESSION.{idle}")
        before = cursor.fetchone()
        cursor.execute(
            f"SET SESSION innodb_lock_wait_timeout = {seconds}, SESSION {idle} = {seconds}"
        )
        cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")  # of the next one
    try:
        with transaction.atomic(using=connection.alias), bounded_statements(connection):
            yield
    finally:
        with suppress(Error), connection.cursor() as cursor:  # the connection may be what broke
            cursor.execute(
                f"SET SESSION innodb_lock_wait_timeout = {before[0]}, SESSION {idle} = {before[1]}"
            )


@contextmanager
def _sqlite(connection: Any, seconds: int) -> Iterator[None]:
    connection.ensure_connection()  # reads the mode that the project's settings ask for
    mode, connection.transaction_mode = connection.transaction_mode, "IMMEDIATE"
    try:
        with transaction.atomic(using=connection.alias):
            connection.transaction_mode = mode
            yield
    finally:
        connection.transaction_mode = mode


_VENDORS = {"postgresql": _postgresql, "mysql": _mysql, "sqlite": _sqlite}
