"""Reads a stream in a test, with everything bounded in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import httpx

from durable_state.protocol import START, Position, encode_change
from durable_state.transport import Batch, BatchLimits, Checkpoint, LiveMode, Reader

__all__ = ["LIMITS", "keys", "message", "messages", "read"]

LIMITS = BatchLimits(rows=100, bytes=1_000_000)


async def read(
    client: httpx.AsyncClient,
    url: str,
    position: Position = START,
    *,
    live: LiveMode | None = None,
    limits: BatchLimits = LIMITS,
    checkpoint: Checkpoint | None = None,
    until: Callable[[list[Batch]], bool] = lambda batches: False,
    seconds: float = 10,
    **options: Any,
) -> list[Batch]:
    """Batches until the reader ends, or `until` is satisfied."""
    reader = Reader(
        client, url, position, live=live, limits=limits, checkpoint=checkpoint, **options
    )
    found: list[Batch] = []
    async with asyncio.timeout(seconds), aclosing(reader.batches()) as batches:
        async for batch in batches:
            found.append(batch)
            if until(found):
                break
    return found


def keys(batches: list[Batch]) -> list[str]:
    """The keys of all changes, in order."""
    return [getattr(message, "key", "?") or "?" for batch in batches for message in batch.messages]


def message(key: object, value: Any = 1) -> bytes:
    """One change."""
    return encode_change("t", str(key), "insert", value)


def messages(count: int, start: int = 0) -> list[bytes]:
    """Changes whose keys are numbers."""
    return [message(n) for n in range(start, start + count)]
