"""The mappings of the tables."""

from __future__ import annotations

from durable_state import EntityMapping, register

from . import models


@register("message")
class MessageMapping(EntityMapping):
    model = models.Message
    key_field = "key"
    stream_field = "stream"
    fields = {"text": "text", "likes": "likes", "edited": "isEdited", "sent_at": "sentAt"}


@register("profile")
class ProfileMapping(EntityMapping):
    model = models.Profile
    key_field = "key"
    stream_field = "stream"
    fields = ["name", "score", "about"]


@register("setting")
class SettingMapping(EntityMapping):
    model = models.Setting
    key_field = "key"
    stream_field = "stream"
    value_field = "data"
