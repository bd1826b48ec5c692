"""For a project's own tests: the real materializer without HTTP, and mappings for one test."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import msgspec

from durable_state.consumer import advance, commit, hand_over
from durable_state.materializer import prepare_batch
from durable_state.models import Replay, Stream
from durable_state.protocol import ABSENT, Message, Position, decode
from durable_state.registry import Registry, registry
from durable_state.transport import Batch

__all__ = ["Applied", "apply", "change", "isolated_registry"]


class Applied(NamedTuple):
    """What became of the messages: how many were applied, parked, and refused as dead letters."""

    applied: int
    parked: int
    dead_letters: int


def apply(
    stream_name: str,
    messages: Sequence[dict[str, Any] | bytes | str | Any],
    *,
    using: str = "default",
    up_to_date: bool = True,
) -> Applied:
    """Turns messages into rows, as if a stream had sent them in one batch,
    and returns what became of them.

    ``messages`` are dicts as in a JSON stream, or raw JSON as bytes. The stream of that name is
    created if it is missing. Works inside a ``TestCase``. With ``up_to_date=False`` the batch has
    not reached the stream's tail, so a rebuild that a ``reset`` has begun is not shown yet. After
    the verb ``reset``, the messages are those that are read again, from the stream's start.
    Raises: StreamHalted, whatever would halt the stream.
    """
    stream, _ = Stream.objects.using(using).get_or_create(
        name=stream_name, defaults={"url": f"http://tests.invalid/{stream_name}"}
    )
    decoded: list[Message] = [
        decode(m if isinstance(m, bytes) else msgspec.json.encode(m)) for m in messages
    ]

    # A stream's own reader waits for the end of its replay here.
    replay = Replay.objects.using(using).filter(stream=stream).first()
    prepared = prepare_batch(stream, decoded, (replay or stream).ordinal)
    ordinal = prepared.after + prepared.count
    batch = Batch(decoded, Position(f"test-{ordinal}", 0, ordinal), up_to_date)
    if replay is None:
        outcomes = [commit(stream, prepared, batch, token=None).outcome]
    else:
        outcomes = [advance(replay, stream, prepared, batch, token=None).outcome]
        if up_to_date:
            shown = hand_over(stream, replay, stream.revision, token=None)
            outcomes += [] if shown is None else [shown.outcome]

    return Applied(
        sum(each.applied for each in outcomes),
        sum(each.parked for each in outcomes),
        sum(each.dead_letters for each in outcomes),
    )


def change(
    type: str, key: str, value: Any = ABSENT, *, operation: str = "upsert", **headers: Any
) -> dict[str, Any]:
    """Returns a change as it is in a stream, for ``apply``; a delete needs no value."""
    message: dict[str, Any] = {"type": type, "key": key}
    if value is not ABSENT:
        message["value"] = value
    return message | {"headers": {"operation": operation} | headers}


def isolated_registry() -> AbstractContextManager[Registry]:
    """Undoes at the end of its block whatever was registered or removed in it.

    In the block, ``register`` works as usual. The registry that it yields has
    ``remove(MappingClass)``, and ``clear()``, which removes all mappings.
    """
    return registry.isolated()
