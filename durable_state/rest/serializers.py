"""The shapes of the answers."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from durable_state.models import DeadLetter, ParkedChange

__all__ = [
    "DeadLetterSerializer",
    "EntitySerializer",
    "HealthSerializer",
    "ParkedChangeSerializer",
    "StreamSerializer",
]


class ProgressSerializer(serializers.Serializer[dict[str, Any]]):
    """How far a stream is, or its reset, in messages."""

    done = serializers.IntegerField()
    total = serializers.IntegerField(allow_null=True, help_text="null: not known")
    rate = serializers.FloatField(help_text="messages a second")
    seconds_left = serializers.FloatField(allow_null=True, help_text="null: not known")


class _Selectable(serializers.BaseSerializer[Any]):
    """An answer whose members ``?fields=`` may leave out, so OpenAPI lists none as required."""

    def get_fields(self) -> Any:
        """The members, as the serializer declares them."""
        fields: Any = super().get_fields()  # type: ignore[misc]
        for each in fields.values():
            each.required = each.read_only = False
        return fields


class StreamSerializer(_Selectable, serializers.Serializer[dict[str, Any]]):
    """The dict of ``status --json``."""

    name = serializers.CharField()
    url = serializers.CharField(help_text="its query string is masked")
    status = serializers.CharField()
    stuck = serializers.BooleanField(help_text="it waits for a person to act")
    why = serializers.CharField(help_text="why it is stuck, or what else you should know")
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
    progress = ProgressSerializer(help_text="of the reset, if one is under way")
    holder = serializers.CharField(help_text="who consumes it; empty: nobody")
    last_error = serializers.CharField()
    action = serializers.CharField()


class EntitySerializer(serializers.Serializer[dict[str, Any]]):
    """One entity; ``value`` is the same as on a websocket."""

    type = serializers.CharField()
    key = serializers.CharField()
    value = serializers.JSONField()


class _WithoutRowSerializer(_Selectable, serializers.ModelSerializer[Any]):
    """A message that has no row.

    ``message`` is its text; bytes that are not UTF-8 are escaped. The context's ``readable`` holds
    the primary keys of those whose values the user may read; for others, ``key``, ``detail`` and
    ``message`` are null.
    """

    key = serializers.SerializerMethodField()
    detail = serializers.SerializerMethodField()
    message = serializers.SerializerMethodField()

    def get_key(self, found: Any) -> str | None:
        """The entity key."""
        return found.key if self._is_readable(found) else None

    def get_detail(self, found: Any) -> str | None:
        """Details of the reason."""
        return found.detail if self._is_readable(found) else None

    def get_message(self, found: Any) -> str | None:
        """The message's bytes as text."""
        if not self._is_readable(found):
            return None
        return bytes(found.body).decode("utf-8", "backslashreplace")

    def _is_readable(self, found: Any) -> bool:
        return found.pk in self.context.get("readable", ())


class DeadLetterSerializer(_WithoutRowSerializer):
    """A refused message."""

    class Meta:
        model = DeadLetter
        fields = ["id", "type", "key", "ordinal", "reason", "detail", "message", "created_at"]
        read_only_fields = fields


class ParkedChangeSerializer(_WithoutRowSerializer):
    """A change that cannot be shown yet; ``stale``: the entity's older row is still shown."""

    class Meta:
        model = ParkedChange
        fields = [
            "id",
            "type",
            "key",
            "ordinal",
            "reason",
            "stale",
            "detail",
            "message",
            "created_at",
        ]
        read_only_fields = fields


class HealthSerializer(serializers.Serializer[dict[str, Any]]):
    """``stuck`` lists the readable streams that wait for a person."""

    status = serializers.ChoiceField(choices=["ok", "stuck"])
    stuck = StreamSerializer(many=True)
