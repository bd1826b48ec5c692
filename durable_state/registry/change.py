"""A change as mappings see it."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["EntityChange"]


class EntityChange(msgspec.Struct, frozen=True):
    """One insert, update, upsert or delete, decoded; all that ``prepare`` may use.

    ``stream`` is the stream's name, ``value`` and ``old_value`` decoded JSON (None where absent),
    ``headers`` those of the message, ``ordinal`` its number in the stream, counted from 1.
    """

    stream: str
    type: str
    key: str
    operation: str
    value: Any
    old_value: Any
    headers: dict[str, Any]
    ordinal: int
