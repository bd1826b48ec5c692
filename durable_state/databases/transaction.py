"""The transaction of a commit, which cannot outlive its worker's lease."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from django.db import connections, transaction

from .bounds import Bounds
from .choosing import find_database
from .limits import limit_seconds

__all__ = ["begun_transaction", "commit_transaction"]


@contextmanager
def commit_transaction(using: str) -> Iterator[None]:
    """Opens a transaction that sees what others commit.

    Should this process freeze inside it, the server releases its locks: waiting for a lock and
    being idle are both limited to half the lease, so a frozen worker never blocks its successor.
    Inside another atomic block (a user's TestCase), it is a savepoint.
    """
    with begun_transaction(using) as bounds:
        if bounds.opening:
            find_database(using).run_together(bounds.opening)
        yield


def begun_transaction(using: str) -> AbstractContextManager[Bounds]:
    """The same, but leaves its first statements to the caller, to be sent with its own."""
    if connections[using].in_atomic_block:
        return _savepoint(using)
    return find_database(using).transaction(limit_seconds())


@contextmanager
def _savepoint(using: str) -> Iterator[Bounds]:
    with transaction.atomic(using=using):
        yield Bounds()
