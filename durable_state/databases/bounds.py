"""The bounds of a transaction, sent along with what is done in it.

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

    Whoever is given them runs the ``opening`` before anything else. The ``closing`` may be sent
    behind the last statement; where it is not, the transaction is committed all the same.
    """

    opening: Sequence[Statement] = ()
    closing: Sequence[Statement] = ()


class AtomicBegunByText(transaction.Atomic):
    """``atomic``, but for BEGIN, which stands in the text of the caller's first statements.

    Django would have the driver begin by itself: a round trip for one word. Nothing may be run
    before that text; where the block ends before, there is nothing to be rolled back.
    """

    def __init__(self, connection: Any) -> None:
        super().__init__(connection.alias, savepoint=True, durable=False)
        self._connection = connection

    def __enter__(self) -> None:
        # Where this is defined Django calls it and leaves the driver as it is: in autocommit, in
        # which a transaction lasts from the BEGIN that is sent to it.
        self._connection._start_transaction_under_autocommit = _begin_later
        try:
            super().__enter__()
        finally:
            del self._connection._start_transaction_under_autocommit


def _begin_later() -> None:
    """BEGIN comes with the first statements."""
