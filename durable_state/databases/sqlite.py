"""SQLite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.db import models, transaction

from .bounds import Bounds
from .database import Database
from .lookups import are_alike, as_json
from .parameters import AS_THEY_ARE, moments_in_utc

__all__ = ["SQLite"]

KEYS = 10_000
"""Keys in one statement, where all of them are one parameter."""


class SQLite(Database):
    """One writer at a time, inside this process; rows are written one by one."""

    has_server = False
    writes_columns = True
    keeps_decimals_as_floats = True

    @contextmanager
    def transaction(self, seconds: int) -> Iterator[Bounds]:
        """Takes the write lock at BEGIN. The operating system frees it if the process dies."""
        connection = self.connection
        connection.ensure_connection()  # reads the transaction mode from the project's settings
        mode, connection.transaction_mode = connection.transaction_mode, "IMMEDIATE"
        try:
            with transaction.atomic(using=self.using):
                connection.transaction_mode = mode
                yield Bounds()
        finally:
            connection.transaction_mode = mode

    def snapshot_options(self) -> dict[str, Any] | None:
        """Only with WAL can others read beside the writer."""
        with self.connection.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode")
            has_wal = cursor.fetchone()[0] == "wal"
        return {"transaction_mode": "DEFERRED"} if has_wal else None

    def most_keys(self, field: models.Field[Any, Any], beside: int) -> int:
        """Many keys are one parameter, a JSON text, if that can hold them."""
        if AS_THEY_ARE.get(type(field)) in (str, int):
            return KEYS
        return super().most_keys(field, beside)

    def _is_one_of(
        self, field: models.Field[Any, Any], parameters: list[Any]
    ) -> tuple[str, list[Any]]:
        if are_alike(parameters, {str, int}):
            return "IN (SELECT value FROM json_each(%s))", [as_json(parameters)]
        return super()._is_one_of(field, parameters)

    def _moments(self, values: Sequence[datetime | None]) -> Sequence[Any]:
        in_utc = moments_in_utc(values) if self.connection.timezone is UTC else None
        return super()._moments(values) if in_utc is None else in_utc
