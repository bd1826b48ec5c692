"""A change as mappings see it."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["EntityChange"]


class EntityChange(msgspec.Struct, frozen=True):
    """One insert, update, upsert or delete, decoded; all that ``prepare`` may use."""

    stream: str
    """The stream's name."""
    type: str
    """The entity type."""
    key: str
    """The entity key."""
    operation: str
    """``insert``, ``update``, ``upsert`` or ``delete``."""
    value: Any
    """Decoded JSON; None where the message has none."""
    old_value: Any
    """Decoded JSON; None where the message has none."""
    headers: dict[str, Any]
    """The message's."""
    ordinal: int
    """The message's number in the stream, counted from 1."""
