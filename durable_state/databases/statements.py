"""Refuses statements that are so long that the server would end the connection.

Why: decision 32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DataError

__all__ = ["bounded_statements", "statement_bytes"]

Execute = Callable[..., Any]


@contextmanager
def bounded_statements(connection: Any, largest: int) -> Iterator[None]:
    """Raises DataError for a statement of more than ``largest`` bytes, before it is sent.

    The server would end the connection. That looks like an outage, so the batch would be retried
    for ever.
    """

    def execute(
        next_execute: Execute, sql: str, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        if many:
            params = list(params)  # which the driver sends in statements of 64 KB, or of one row
        for values in params if many else [params or ()]:
            if _is_longer(largest, sql, values):
                raise DataError(
                    f"The values have {statement_bytes(values)} bytes, more than the database takes"
                    f" in one statement (max_allowed_packet = {largest})."
                )
        return next_execute(sql, params, many, context)

    with connection.execute_wrapper(execute):
        yield


def _is_longer(largest: int, sql: str, values: Iterable[Any]) -> bool:
    rough = sum(len(value) for value in values if isinstance(value, (str, bytes)))
    # A character has up to four bytes, and a byte two where it is escaped.
    return (rough + len(sql)) * 5 > largest and statement_bytes(values) + len(sql) > largest


def statement_bytes(values: Iterable[Any]) -> int:
    """The bytes of values in a statement of MySQL's. All but texts and bytes are taken as short."""
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
