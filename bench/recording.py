"""The recorded bytes: events of three types, 60 % inserts, 30 % updates, 10 % deletes, about 240 bytes each."""

from __future__ import annotations

import json
import random
from typing import Any

__all__ = ["record", "record_hot"]


def record(events: int) -> list[bytes]:
    """The messages of a stream, as JSON, the same in every run."""
    chance = random.Random(1)
    alive: dict[str, list[str]] = {"message": [], "profile": [], "setting": []}
    messages = []
    for number in range(events):
        entity_type, dice = chance.choice(list(alive)), chance.random()
        keys = alive[entity_type]
        if dice < 0.6 or not keys:
            operation, key = "insert", f"{entity_type}-{number:08}"
            keys.append(key)
        elif dice < 0.9:
            operation, key = "update", chance.choice(keys)
        else:
            place = chance.randrange(len(keys))
            operation, key = "delete", keys[place]
            keys[place] = keys[-1]
            keys.pop()
        message: dict[str, Any] = {"type": entity_type, "key": key, "headers": {"operation": operation}}
        message["headers"] |= {"txid": f"tx-{number}", "timestamp": "2026-01-01T00:00:00.000Z"}
        if operation != "delete":
            message["value"] = _value(entity_type, number)
        messages.append(json.dumps(message, separators=(",", ":")).encode())
    return messages


def record_hot(events: int, keys: int = 100) -> list[bytes]:
    """Updates of a few keys, over and over."""
    return [
        json.dumps(
            {
                "type": "message",
                "key": f"hot-{number % keys}",
                "value": _value("message", number),
                "headers": {"operation": "update", "txid": f"tx-{number}", "timestamp": "2026-01-01T00:00:00.000Z"},
            },
            separators=(",", ":"),
        ).encode()
        for number in range(events)
    ]


def _value(entity_type: str, number: int) -> Any:
    match entity_type:
        case "message":
            moment = f"2026-01-{number % 28 + 1:02}T10:{number % 60:02}:00Z"
            return {
                "text": f"hello {number} " + "x" * 40,
                "likes": number % 100,
                "isEdited": number % 2 == 0,
                "sentAt": moment,
            }
        case "profile":
            return {"name": f"name {number}", "score": number, "about": "y" * 60}
        case _:
            return {"theme": {"dark": number % 2 == 0, "size": number}, "pinned": ["z" * 20, str(number)]}
