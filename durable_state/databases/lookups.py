"""Finds rows by many keys in one query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from django.db.models import Lookup

__all__ = ["Found", "are_alike", "as_json"]


class Found(Lookup):
    """A column and a condition on it, with the driver's parameters: ``rhs`` is the pair of them.

    A lookup, not raw SQL: MySQL would compare that with TRUE, and look at every row of the table.
    """

    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        """``column condition``."""
        column, parameters = self.process_lhs(compiler, connection)
        condition, values = self.rhs
        return f"{column} {condition}", [*parameters, *values]


def as_json(parameters: Sequence[Any]) -> str:
    """Many parameters as a single one, a JSON text."""
    return msgspec.json.encode(parameters).decode()


def are_alike(parameters: Sequence[Any], types: set[type]) -> bool:
    """Whether all have the same type, which is one of these."""
    found = set(map(type, parameters))
    return len(found) == 1 and found <= types
