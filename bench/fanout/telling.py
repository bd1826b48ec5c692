"""In the consuming process: announces each commit as a project without this feed would.

The text is what the product's websocket sends for the same commit.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec

from durable_state.feed.frames import Item, ItemHeaders, encode_frame, encode_value
from durable_state.registry import EntityMapping, registry

__all__ = ["tell_of_commits"]

TOKEN = "1-61f3c0a2b4d80.9a1c2e5d7f031b46.42"
"""As long as one of the product's."""


def tell_of_commits(way: str) -> None:
    """``tutorial``: to the group of the channel layer; ``floor``: on a channel of Redis."""
    from durable_state.signals import changes_committed

    tell = {"tutorial": _by_layer, "floor": _by_redis}[way]()

    def note(sender: Any, stream: str, upserted: list[str] | None, **_: Any) -> None:
        (mapping,) = registry.for_model(sender)
        rows = sender.objects.filter(stream=stream, key__in=upserted or ())
        tell(stream, str(encode_frame([_item(mapping, row) for row in rows], TOKEN, True)))

    changes_committed.connect(note, weak=False)


def _item(mapping: EntityMapping, row: Any) -> Item:
    value = msgspec.Raw(encode_value(mapping.represent(row)))
    headers = ItemHeaders(operation="update")
    return Item(type=mapping.entity_type, key=row.key, value=value, headers=headers)


def _by_layer() -> Callable[[str, str], None]:
    from asgiref.sync import async_to_sync
    from channels.layers import get_channel_layer

    layer: Any = get_channel_layer("tutorial")

    def tell(stream: str, text: str) -> None:
        async_to_sync(layer.group_send)(f"stream_{stream}", {"type": "stream.change", "text": text})

    return tell


def _by_redis() -> Callable[[str, str], None]:
    import redis

    client = redis.from_url(os.environ["BENCH_REDIS"])

    def tell(_: str, text: str) -> None:
        client.publish(os.environ["BENCH_FLOOR"], text)

    return tell
