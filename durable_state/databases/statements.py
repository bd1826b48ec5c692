"""No statement that the server would hang up at.

Why: decision 32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DataError

from durable_state.conversion.limits import largest_statement, statement_bytes

__all__ = ["bounded_statements"]

Execute = Callable[..., Any]


@contextmanager
def bounded_statements(connection: Any) -> Iterator[None]:
    """Raises DataError for a statement that is longer than MySQL's ``max_allowed_packet``, before
    it is sent.

    The server would end the connection, which is what an outage looks like: the batch would be
    tried again for ever.
    """
    largest = largest_statement(connection.alias)
    if largest is None:
        yield
        return

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
