"""The recorded bytes: streams of three types, in files, the same in every run."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .digest import Digest, checksum

__all__ = ["RECORDINGS", "Recording", "messages", "record"]

TYPES = ("message", "profile", "setting")


class Recording(NamedTuple):
    """A file with a JSON array of ``events`` messages, and the rows they result in."""

    name: str
    path: Path
    events: int
    expected: Digest

    @property
    def megabytes(self) -> float:
        """The size of the file."""
        return self.path.stat().st_size / 1e6


Event = tuple[str, str, str, int]
"""Operation (or control), type, key, and the number from which the value is derived."""


def mixed(events: int) -> Iterator[Event]:
    """60 % inserts, 30 % updates, 10 % deletes."""
    chance = random.Random(1)
    alive: dict[str, list[str]] = {each: [] for each in TYPES}
    for number in range(events):
        entity_type, dice = chance.choice(TYPES), chance.random()
        keys = alive[entity_type]
        if dice < 0.6 or not keys:
            keys.append(f"{entity_type}-{number:08}")
            yield "insert", entity_type, keys[-1], number
        elif dice < 0.9:
            yield "update", entity_type, chance.choice(keys), number
        else:
            place = chance.randrange(len(keys))
            keys[place], keys[-1] = keys[-1], keys[place]
            yield "delete", entity_type, keys.pop(), number


def hot(events: int) -> Iterator[Event]:
    """Updates of a hundred keys, over and over."""
    for number in range(events):
        yield "update", "message", f"hot-{number % 100}", number


def inserts(events: int) -> Iterator[Event]:
    """Inserts only."""
    for number in range(events):
        entity_type = TYPES[number % 3]
        yield "insert", entity_type, f"{entity_type}-{number:08}", number


def snapshot(events: int) -> Iterator[Event]:
    """The same between the two controls of a snapshot, which are not counted as events."""
    yield "snapshot-start", "", "", 0
    yield from inserts(events)
    yield "snapshot-end", "", "", 0


RECORDINGS: dict[str, Callable[[int], Iterator[Event]]] = {
    "mixed": mixed,
    "hot": hot,
    "inserts": inserts,
    "snapshot": snapshot,
}


def record(kind: str, events: int, folder: Path, *, filler: int = 40) -> Recording:
    """Writes the recording of that kind; ``filler`` is how many characters make a value longer."""
    path = folder / f"{kind}-{events}-{filler}.json"
    numbers: dict[tuple[str, str], int] = {}
    expected: Digest = dict.fromkeys(TYPES, (0, 0))

    def count(entity_type: str, key: str, number: int, times: int) -> None:
        rows, total = expected[entity_type]
        change = checksum(key, _value(entity_type, number, filler))
        expected[entity_type] = rows + times, (total + times * change) % 2**64

    written = 0
    with path.open("wb") as file:
        for operation, entity_type, key, number in RECORDINGS[kind](events):
            if entity_type:
                old = numbers.pop((entity_type, key), None)
                if old is not None:
                    count(entity_type, key, old, -1)
                if operation != "delete":
                    numbers[entity_type, key] = number
                    count(entity_type, key, number, 1)
            file.write(b"," if written else b"[")
            file.write(_message(operation, entity_type, key, number, filler))
            written += 1
        file.write(b"]")
    return Recording(path.stem, path, written, expected)


def messages(kind: str, events: int, filler: int = 40) -> Iterator[bytes]:
    """The messages of a recording of that kind, one by one."""
    for event in RECORDINGS[kind](events):
        yield _message(*event, filler)


def _message(operation: str, entity_type: str, key: str, number: int, filler: int) -> bytes:
    headers = {"txid": f"tx-{number}", "timestamp": "2026-01-01T00:00:00.000Z"}
    message: dict[str, Any]
    if not entity_type:
        message = {"headers": {"control": operation}}
    else:
        message = {"type": entity_type, "key": key, "headers": {"operation": operation, **headers}}
        if operation != "delete":
            message["value"] = _value(entity_type, number, filler)
    return json.dumps(message, separators=(",", ":")).encode()


def _value(entity_type: str, number: int, filler: int) -> Any:
    match entity_type:
        case "message":
            moment = f"2026-01-{number % 28 + 1:02}T10:{number % 60:02}:00Z"
            text = f"hello {number} " + "x" * filler
            return {
                "text": text,
                "likes": number % 100,
                "isEdited": number % 2 == 0,
                "sentAt": moment,
            }
        case "profile":
            return {"name": f"name {number}", "score": number, "about": "y" * (filler + 20)}
        case _:
            theme = {"dark": number % 2 == 0, "size": number}
            return {"theme": theme, "pinned": ["z" * (filler // 2), str(number)]}
