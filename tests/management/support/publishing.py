"""Appends messages to a real stream, from a test that is not async."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from durable_state.transport import append, create, open_client

__all__ = ["make", "publish"]


def make(url: str, content_type: str = "application/json") -> None:
    """Creates an empty stream."""

    async def run() -> None:
        async with open_client() as client:
            await create(client, url, content_type=content_type)

    asyncio.run(run())


def publish(url: str, *messages: Any) -> None:
    """Appends the messages in one request, and creates the stream first if it is missing."""

    async def run() -> None:
        async with open_client() as client:
            await create(client, url)
            await append(client, url, [json.dumps(each).encode() for each in messages])

    asyncio.run(run())
