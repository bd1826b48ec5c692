"""Writes a change to a stream, from which it comes back as a row."""

from __future__ import annotations

from typing import Any

from durable_state.consumer import append_once
from durable_state.models import Stream
from durable_state.protocol import ABSENT, Operation, encode_change

__all__ = ["publish"]

SECONDS = 30.0
"""How long the server may take in all, in seconds."""


def publish(
    stream: Stream,
    type: str,
    key: str,
    value: Any = ABSENT,
    *,
    operation: str = "upsert",
    txid: str | None = None,
    create: bool = False,
) -> None:
    """Appends one change to the stream, with the headers that HEADERS gives.

    Nothing is written to the tables: the change becomes a row when it is read. ``value`` is
    anything that JSON can hold; a delete needs none. ``create`` creates the stream on its server
    if it is missing.
    Raises: TransportError, if the server did not accept the change; ConfigurationError; ValueError,
    for an unknown operation, or for NaN and infinities in the value.
    """
    change = encode_change(type, key, Operation(operation), value, txid=txid)
    append_once(stream, [change], SECONDS, create_missing=create)
