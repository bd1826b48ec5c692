"""What a project's own tests need:
the real materializer without HTTP, and mappings for one test.
"""

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
    """Materializes wire messages as if a stream had brought them in one batch,
    and says what became of them.

    ``messages`` are dicts as they stand in a JSON stream (or raw JSON as bytes); the stream of that
    name is created where it is missing. Works inside a TestCase. ``up_to_date=False`` leaves a
    rebuild that a ``reset`` began unshown, as between two batches. After the command ``reset`` they
    are what is read again, from the stream's start on.
    Raises: what the consumer would halt with (StreamHalted).
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
    """A change as it stands in a stream, for ``apply``; a delete needs no value."""
    message: dict[str, Any] = {"type": type, "key": key}
    if value is not ABSENT:
        message["value"] = value
    return message | {"headers": {"operation": operation} | headers}


def isolated_registry() -> AbstractContextManager[Registry]:
    """Takes back at the block's end what was registered and removed in it.

    In the block ``register`` works as usual, ``remove(MappingClass)`` of the registry that it gives
    takes a mapping out, and ``clear()`` all of them.
    """
    return registry.isolated()
