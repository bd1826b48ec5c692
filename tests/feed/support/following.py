"""Following a stream in a test, from the hub up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from dataclasses import dataclass, field

from asgiref.sync import sync_to_async

from durable_state.feed import Audience, Hub, Sight, Subscriber, subscribe
from durable_state.models import Stream
from durable_state.registry import registry

from .client import Client

__all__ = ["Follower", "everything", "follow"]


def everything(stream: Stream, types: Collection[str] = ()) -> Audience:
    """An audience that may see all rows, of `types` or of all."""
    mappings = [
        each for each in registry.for_stream(stream.name) if not types or each.entity_type in types
    ]
    mappings = [each for each in mappings if each.entity_type in ("message", "setting")]
    return Audience.of(
        stream, [Sight(each, each.rows(stream), narrowed=False) for each in mappings]
    )


@dataclass
class Follower:
    """A client and its frames."""

    hub: Hub
    frames: AsyncGenerator[str, None]
    client: Client = field(default_factory=Client)

    async def until(self, done: Callable[[Client], bool], seconds: float = 10) -> Client:
        """Reads frames until `done`."""
        async with asyncio.timeout(seconds):
            await self.client.read_until(self.frames, done)
        return self.client

    async def until_revision(self, revision: int) -> Client:
        """Reads until the commit `revision` has arrived, and nothing is missing."""
        return await self.until(
            lambda client: client.up_to_date and client.offset.endswith(f".{revision}")
        )


@contextlib.asynccontextmanager
async def follow(
    stream: Stream,
    offset: str = "",
    *,
    audience: Callable[[], Audience | None] | None = None,
    client: Client | None = None,
) -> AsyncIterator[Follower]:
    """Subscribes to the stream, with an audience that may see everything unless another is
    given.
    """
    make = sync_to_async(audience or (lambda: everything(stream)))
    first = await make()
    assert first is not None
    async with subscribe(stream) as hub:
        frames = Subscriber(hub, first, make, offset).frames()
        async with contextlib.aclosing(frames):
            yield Follower(hub, frames, client or Client())
