"""One row, as it is and as it is to be.

A batch makes many of these structs, and they are never part of a reference cycle; letting the
garbage collector look for one took a third of the time.
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
    """A row as it is to be: key, values of all mapped columns, and the row that is there now.

    ``kept`` is what was kept of the entity's former row, if that was deleted meanwhile.
    """

    key: str
    key_value: Any
    values: Values
    existing: ExistingRow | None
    kept: bytes | None = None
