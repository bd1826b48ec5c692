"""What a service that owns a stream does: create it, append to it, close and delete it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from tests.oracle import DOCUMENTS, FLAGS, NUMBERS, POINTS, TEXTS, TYPES
from tests.wire import encode, insert

__all__ = ["RemoteStream", "random_groups", "random_items"]


class RemoteStream:
    """One stream on a real server, and everything that was ever appended to it."""

    def __init__(self, url: str, content_type: str = "application/json") -> None:
        self.url = url
        self.items: list[Any] = []
        self.create(content_type)

    def create(self, content_type: str = "application/json") -> None:
        """Creates it, or creates it anew after ``delete``."""
        self.items = []
        self._send("PUT", {"content-type": content_type})

    def append(self, items: Sequence[Any]) -> None:
        """Appends in one step."""
        self._send(
            "POST", {"content-type": "application/json"}, b"[%b]" % b",".join(map(encode, items))
        )
        self.items += items

    def close(self) -> None:
        """Closes it: no message will follow."""
        self._send("POST", {"stream-closed": "true"})

    def delete(self) -> None:
        """Deletes it."""
        self._send("DELETE", {})

    def _send(self, method: str, headers: dict[str, str], content: bytes | None = None) -> None:
        httpx.request(
            method, self.url, headers=headers, content=content, timeout=10
        ).raise_for_status()


def random_items(seed: int, count: int) -> list[Any]:
    """A stream of everything: changes of all kinds, refused ones, controls, junk, unregistered
    types.
    """
    chance = random.Random(seed)
    return [_random_item(chance) for _ in range(count)]


def random_groups(items: Sequence[Any], seed: int, most: int = 40) -> Iterator[Sequence[Any]]:
    """Splits the items into appends."""
    chance, start = random.Random(seed), 0
    while start < len(items):
        size = chance.randint(1, most)
        yield items[start : start + size]
        start += size


_OBJECTS: dict[str, dict[str, list[tuple[Any, Any]]]] = {
    "message": {"text": TEXTS, "likes": NUMBERS, "isEdited": FLAGS},
    "profile": {"name": TEXTS, "score": NUMBERS},
    "score": {"points": POINTS},
}
_JUNK: list[Any] = [
    5,
    None,
    [1],
    "text",
    {},
    {"headers": 7},
    {"type": "message", "headers": {"operation": "insert"}},
]


def _random_item(chance: random.Random) -> Any:
    kind = chance.random()
    if kind < 0.03:
        return {
            "headers": {
                "control": chance.choice(
                    ["reset", "snapshot-start", "snapshot-end", "snapshot-end"]
                )
            }
        }
    if kind < 0.06:
        return chance.choice(_JUNK)
    if kind < 0.1:
        return insert("ghost", chance.choice("xy"), {})
    entity_type = chance.choice(sorted(TYPES))
    operation = chance.choice(["update", "update", "upsert", "delete"])
    item = {
        "type": entity_type,
        "key": chance.choice(TYPES[entity_type].keys)[0],
        "headers": {"operation": operation},
    }
    if operation == "delete":
        return item
    if entity_type == "setting":
        return item | {"value": chance.choice(DOCUMENTS)}
    fields = _OBJECTS[entity_type]
    # Mostly valid values: with odd ones only, no row would live long.
    value = {
        name: chance.choice(table[:3] if chance.random() < 0.8 else table)[0]
        for name, table in fields.items()
    }
    return item | {"value": value}
