"""The statements that begin and end a transaction, sent along with those inside it.

Why: decision 45.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import transaction

from .together import Statement

__all__ = ["AtomicBegunByText", "Bounds"]


class Bounds(NamedTuple):
    """The statements that a transaction begins and ends with.

    The caller runs the ``opening`` before anything else. It may send the ``closing`` after its last
    statement; otherwise, the transaction is committed all the same.
    """

    opening: Sequence[Statement] = ()
    closing: Sequence[Statement] = ()


class AtomicBegunByText(transaction.Atomic):
    """``atomic``, but BEGIN is sent with the caller's first statements.

    Django would have the driver send it alone: a round trip for one word. Nothing may be run before
    those statements; if the block ends earlier, there is nothing to roll back.
    """

    def __init__(self, connection: Any) -> None:
        super().__init__(connection.alias, savepoint=True, durable=False)
        self._connection = connection

    def __enter__(self) -> None:
        # If this method exists, Django calls it and leaves the driver in autocommit mode, in which
        # a transaction starts with the BEGIN that is sent.
        self._connection._start_transaction_under_autocommit = _begin_later
        try:
            super().__enter__()
        finally:
            del self._connection._start_transaction_under_autocommit


def _begin_later() -> None:
    """BEGIN comes with the first statements."""
