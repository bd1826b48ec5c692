"""One row, as it is and as it shall be.

The structs of a batch are many and never part of a cycle; looking for one in them (``gc``) took a
third of the time.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..plan import Values

__all__ = ["ExistingRow", "RowWrite"]


class ExistingRow(msgspec.Struct, gc=False):
    """A shown row: its primary key, and its mapped columns."""

    pk: Any
    values: Values


class RowWrite(msgspec.Struct, gc=False):
    """A row as it shall be: key, the values of all mapped columns, and the row that is there now.

    ``kept`` is what was kept of the entity's row, where it had one that had to go.
    """

    key: str
    key_value: Any
    values: Values
    existing: ExistingRow | None
    kept: bytes | None = None
