"""A change, as mappings see it."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["EntityChange"]


class EntityChange(msgspec.Struct, frozen=True):
    """One decoded insert, update, upsert or delete: all that ``prepare`` may use."""

    stream: str
    """The stream's name."""
    type: str
    """The entity type."""
    key: str
    """The entity key."""
    operation: str
    """``insert``, ``update``, ``upsert`` or ``delete``."""
    value: Any
    """Decoded JSON; None if the message has no value."""
    old_value: Any
    """Decoded JSON; None if the message has no old value."""
    headers: dict[str, Any]
    """The headers of the message."""
    ordinal: int
    """The message's number in the stream, counted from 1."""
