"""The shapes of the answers."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from durable_state.models import DeadLetter

__all__ = ["DeadLetterSerializer", "EntitySerializer", "HealthSerializer", "StreamSerializer"]


class ProgressSerializer(serializers.Serializer[dict[str, Any]]):
    """How far a stream is, or its reset, in messages."""

    done = serializers.IntegerField()
    total = serializers.IntegerField(allow_null=True, help_text="null: not known")
    rate = serializers.FloatField(help_text="messages a second")
    seconds_left = serializers.FloatField(allow_null=True, help_text="null: not known")


class StreamSerializer(serializers.Serializer[dict[str, Any]]):
    """The dict of ``status --json``."""

    name = serializers.CharField()
    url = serializers.CharField(help_text="its query string is masked")
    status = serializers.CharField()
    stuck = serializers.BooleanField(help_text="it waits for a person")
    why = serializers.CharField(help_text="why it is stuck, or what a person should know")
    offset = serializers.CharField()
    ordinal = serializers.IntegerField()
    revision = serializers.IntegerField()
    applied = serializers.IntegerField()
    parked = serializers.IntegerField()
    dead_letters = serializers.IntegerField()
    no_row = serializers.IntegerField()
    unregistered = serializers.IntegerField(help_text="messages of types without a mapping")
    control = serializers.IntegerField()
    superseded = serializers.IntegerField()
    lag_seconds = serializers.FloatField()
    since = serializers.CharField()
    progress = ProgressSerializer(help_text="of the reset, where one is under way")
    holder = serializers.CharField(help_text="who consumes it; empty: nobody")
    last_error = serializers.CharField()
    action = serializers.CharField()


class EntitySerializer(serializers.Serializer[dict[str, Any]]):
    """One entity, its ``value`` as websockets show it."""

    type = serializers.CharField()
    key = serializers.CharField()
    value = serializers.JSONField()


class DeadLetterSerializer(serializers.ModelSerializer[DeadLetter]):
    """A refused message; ``message`` is its text, with bytes that are no UTF-8 escaped.

    The context's ``readable`` has the letters whose values the user may read, by primary key. Of
    the others ``key``, ``detail`` and ``message`` are null.
    """

    key = serializers.SerializerMethodField()
    detail = serializers.SerializerMethodField()
    message = serializers.SerializerMethodField()

    class Meta:
        model = DeadLetter
        fields = ["id", "type", "key", "ordinal", "reason", "detail", "message", "created_at"]
        read_only_fields = fields

    def get_key(self, letter: DeadLetter) -> str | None:
        """The entity key."""
        return letter.key if self._is_readable(letter) else None

    def get_detail(self, letter: DeadLetter) -> str | None:
        """What the reason is about."""
        return letter.detail if self._is_readable(letter) else None

    def get_message(self, letter: DeadLetter) -> str | None:
        """The message's bytes as text."""
        if not self._is_readable(letter):
            return None
        return bytes(letter.body).decode("utf-8", "backslashreplace")

    def _is_readable(self, letter: DeadLetter) -> bool:
        return letter.pk in self.context.get("readable", ())


class HealthSerializer(serializers.Serializer[dict[str, Any]]):
    """``stuck`` tells the readable streams that wait for a person."""

    status = serializers.ChoiceField(choices=["ok", "stuck"])
    stuck = StreamSerializer(many=True)
