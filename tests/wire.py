"""Messages as they are on the wire, for every test that appends or applies some."""

from __future__ import annotations

import json
from typing import Any

__all__ = [
    "END",
    "RESET",
    "START",
    "WHEN",
    "change",
    "commit_by",
    "control",
    "delete",
    "encode",
    "insert",
    "message",
    "raw_change",
]

WHEN = "2015-06-03T18:17:46+01:00"


def change(
    entity_type: str,
    key: str,
    operation: str = "insert",
    /,
    *,
    value: Any = ...,
    headers: Any = None,
    **fields: Any,
) -> dict[str, Any]:
    """A change whose value is an object of these fields, or ``value`` itself; a delete has none."""
    found: dict[str, Any] = {
        "type": entity_type,
        "key": key,
        "headers": {"operation": operation, **(headers or {})},
    }
    if operation == "delete":
        return found
    return found | {"value": fields if value is ... else value}


def insert(entity_type: str, key: str, value: Any) -> dict[str, Any]:
    """An insert of a whole value."""
    return change(entity_type, key, value=value)


def delete(entity_type: str, key: str) -> dict[str, Any]:
    """A delete."""
    return change(entity_type, key, "delete")


def message(key: str, text: str, operation: str = "insert", **fields: Any) -> dict[str, Any]:
    """A change of a message; a text of more than 20 characters is refused."""
    return change("message", key, operation, text=text, **fields)


def commit_by(key: str, author: str) -> dict[str, Any]:
    """An insert of a commit, which waits for its author."""
    return change("commit", key, author=author, subject="s", authored_at=WHEN)


def control(kind: str) -> dict[str, Any]:
    """A control message."""
    return {"headers": {"control": kind}}


START, END, RESET = map(control, ("snapshot-start", "snapshot-end", "reset"))


def raw_change(
    entity_type: str, key: str, value: str | None, operation: str = "insert", **headers: Any
) -> bytes:
    """A change around a value's JSON text, byte for byte; without a value for None."""
    start = f'{{"type": {json.dumps(entity_type)}, "key": {json.dumps(key)}, '
    middle = "" if value is None else f'"value": {value}, '
    end = f'"headers": {json.dumps({"operation": operation, **headers})}}}'
    return f"{start}{middle}{end}".encode()


def encode(item: Any) -> bytes:
    """The item as it is on the wire; bytes are taken unchanged."""
    return item if isinstance(item, bytes) else json.dumps(item, ensure_ascii=False).encode()
