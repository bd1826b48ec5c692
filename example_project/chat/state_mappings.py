"""How a room's stream becomes rows: the stream is told by the room."""

from __future__ import annotations

from durable_state import EntityMapping, camel_case, register

from .models import Message, Presence, Reaction, Typing, User

ROOMS = ["chat-*"]


@register("user")
class UserMapping(EntityMapping):
    model = User
    key_field = "key"
    stream_field = "room"
    fields = ["name"]
    streams = ROOMS


@register("message")
class MessageMapping(EntityMapping):
    model = Message
    key_field = "key"
    stream_field = "room"
    fields = camel_case("text", "sent_at") | {"author": "userId"}
    streams = ROOMS


@register("reaction")
class ReactionMapping(EntityMapping):
    model = Reaction
    key_field = "key"
    stream_field = "room"
    fields = {"message": "messageId", "user": "userId", "emoji": "emoji"}
    streams = ROOMS


@register("typing")
class TypingMapping(EntityMapping):
    model = Typing
    key_field = "key"
    stream_field = "room"
    fields = {"user": "userId", "seen_at": "seenAt"}
    streams = ROOMS


@register("presence")
class PresenceMapping(EntityMapping):
    model = Presence
    key_field = "key"
    stream_field = "room"
    fields = {"user": "userId", "seen_at": "seenAt"}
    streams = ROOMS
