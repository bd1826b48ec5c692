"""What a visitor does, checked, and the changes that say so on the room's stream.

Nothing here writes to the tables: the changes go to the stream and come back as rows.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from typing import Any

from durable_state.protocol import encode_change

from .models import Message, Reaction, Room, User

__all__ = ["EMOJI", "Refused", "Visitor", "changes_for"]

EMOJI = ["👍", "❤️", "😄", "🎉", "👀", "🚀"]
TEXT_LIMIT = 2000
_PLACE = re.compile(r"[0-9a-f]{1,8}")
"""The name that a window gives itself."""


class Refused(Exception):
    """The visitor may not do this, or the request makes no sense. The text is for people."""


class Visitor:
    """Somebody with a name. The key is in their browser's session only, so nobody else has it."""

    def __init__(self, key: str, name: str) -> None:
        self.key = key
        self.name = name


async def changes_for(
    room: Room, visitor: Visitor, action: dict[str, Any]
) -> tuple[str, list[bytes]]:
    """Returns the key of the entity that the action is about, and the changes to append.

    Raises: Refused.
    """
    match action:
        case {"do": "say", "text": str(text)} if (
            0 < len(text.strip()) <= TEXT_LIMIT and "\0" not in text
        ):
            key = uuid.uuid4().hex
            said = {"userId": visitor.key, "text": text.strip(), "sentAt": _now()}
            changes = [
                _change("message", key, "insert", said),
                _change("typing", visitor.key, "delete"),
            ]
        case {"do": "typing", "on": True}:
            key = visitor.key
            changes = [_change("typing", key, "upsert", {"userId": visitor.key, "seenAt": _now()})]
        case {"do": "typing", "on": False}:
            return visitor.key, [_change("typing", visitor.key, "delete")]
        case {"do": "here", "place": str(place), "on": bool(on)} if _PLACE.fullmatch(place):
            # A person may have several windows open, and close each of them on its own.
            key = f"{visitor.key}:{place}"
            if not on:
                return key, [_change("presence", key, "delete")]
            present = {"userId": visitor.key, "seenAt": _now()}
            changes = [_change("presence", key, "upsert", present)]
        case {"do": "react", "message": str(message), "emoji": str(emoji), "on": bool(on)} if (
            emoji in EMOJI
        ):
            if not await Message.objects.filter(room=room, key=message).aexists():
                raise Refused("That message is gone.")
            key = f"{message}:{visitor.key}:{emoji}"
            if not on:
                return key, [_change("reaction", key, "delete")]
            reaction = {"messageId": message, "userId": visitor.key, "emoji": emoji}
            changes = [_change("reaction", key, "insert", reaction)]
        case {"do": "delete", "message": str(key)}:
            if not await Message.objects.filter(
                room=room, key=key, author__key=visitor.key
            ).aexists():
                raise Refused("Only your own messages can be deleted.")
            # Children first: reactions to a deleted message would be parked, waiting for it.
            given = Reaction.objects.filter(room=room, message__key=key).values_list(
                "key", flat=True
            )
            return key, [_change("reaction", each, "delete") async for each in given] + [
                _change("message", key, "delete")
            ]
        case {"do": "say"}:
            raise Refused(f"A message has 1 to {TEXT_LIMIT} characters.")
        case _:
            raise Refused("This request is not valid.")
    return key, await _introduction(room, visitor) + changes


async def _introduction(room: Room, visitor: Visitor) -> list[bytes]:
    """Returns the visitor's own change if the room does not know them by this name yet."""
    if await User.objects.filter(room=room, key=visitor.key, name=visitor.name).aexists():
        return []
    return [_change("user", visitor.key, "upsert", {"name": visitor.name})]


def _change(entity_type: str, key: str, operation: str, value: Any = None) -> bytes:
    if operation == "delete":
        return encode_change(entity_type, key, operation, timestamp=_now())
    return encode_change(entity_type, key, operation, value, timestamp=_now())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
