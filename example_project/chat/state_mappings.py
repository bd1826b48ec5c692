"""How a room's stream becomes rows. All rooms share the tables; ``room`` tells them apart."""

from __future__ import annotations

from durable_state import EntityMapping, camel_case, register

from .models import Message, Presence, Reaction, Typing, User


class RoomMapping(EntityMapping):
    """What the mappings below have in common."""

    key_field = "key"
    stream_field = "room"
    streams = ["chat-*"]


@register("user")
class UserMapping(RoomMapping):
    model = User
    fields = ["name"]


@register("message")
class MessageMapping(RoomMapping):
    model = Message
    fields = camel_case("text", "sent_at") | {"author": "userId"}


@register("reaction")
class ReactionMapping(RoomMapping):
    model = Reaction
    fields = {"message": "messageId", "user": "userId", "emoji": "emoji"}


@register("typing")
class TypingMapping(RoomMapping):
    model = Typing
    fields = camel_case("seen_at") | {"user": "userId"}


@register("presence")
class PresenceMapping(RoomMapping):
    model = Presence
    fields = camel_case("seen_at") | {"user": "userId"}
