"""The mappings of the test app."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError

from durable_state import EntityChange, EntityMapping, register

from . import grove_mappings as grove_mappings  # registers its own
from . import models


@register("author")
class AuthorMapping(EntityMapping):
    model = models.Author
    key_field = "key"
    fields = ["commits"]


@register("commit")
class CommitMapping(EntityMapping):
    model = models.Commit
    key_field = "key"
    fields = ["author", "subject", "authored_at"]


@register("file")
class FileMapping(EntityMapping):
    model = models.File
    key_field = "path"
    fields = ["blob", "mode", "commit"]


@register("message")
class MessageMapping(EntityMapping):
    model = models.Message
    key_field = "key"
    stream_field = "room"
    fields = {"text": "text", "likes": "likes", "edited": "isEdited"}


@register("profile")
class ProfileMapping(EntityMapping):
    model = models.Profile
    key_field = "key"
    stream_field = "stream"
    fields = ["name", "score"]
    update_mode = "merge"


@register("setting")
class SettingMapping(EntityMapping):
    model = models.Setting
    key_field = "key"
    stream_field = "stream"
    value_field = "data"


@register("score")
class ScoreMapping(EntityMapping):
    model = models.Score
    key_field = "number"
    stream_field = "stream"
    fields = ["points", "label"]

    def prepare(self, change: EntityChange) -> dict[str, Any] | None:
        raw = super().prepare(change)
        if raw is None or raw.get("points") == 0:
            return None
        if isinstance(raw.get("points"), int) and raw["points"] < 0:
            raise ValidationError("points below zero")
        return raw | {"label": f"#{change.key}"}


@register("person")
class PersonMapping(EntityMapping):
    model = models.Person
    key_field = "key"
    stream_field = "room"
    fields = ["email", "boss"]


class OfficeMapping(EntityMapping):
    """What follows serves only its own streams, so that those of other tests stay small."""

    streams = ["office"]
    key_field = "key"


@register("employee")
class EmployeeMapping(OfficeMapping):
    model = models.Employee
    fields = ["email", "name", "grade", "boss"]
    update_mode = "merge"


@register("quota")
class QuotaMapping(OfficeMapping):
    model = models.Quota
    fields = {"used": "inUse", "spare": "spare"}


@register("quota")
class MergedQuotaMapping(QuotaMapping):
    streams = ["merging-office"]
    update_mode = "merge"


@register("page")
class PageMapping(OfficeMapping):
    model = models.Page
    fields = ["slug", "size"]


@register("device")
class DeviceMapping(OfficeMapping):
    model = models.Device
    key_field = "serial"
    stream_field = "stream"
    fields = ["charge"]


@register("device")
class DeviceByIdMapping(DeviceMapping):
    streams = ["office-by-id"]
    key_field = "id"
    fields = ["serial", "charge"]


@register("ticket")
class TicketMapping(OfficeMapping):
    model = models.Ticket
    key_field = "id"
    fields = ["priority", "group"]


@register("stock")
class StockMapping(OfficeMapping):
    model = models.Stock
    fields = ["amount", "reserved", "code", "order"]


class RingMapping(EntityMapping):
    """Types whose rows point to each other in circles."""

    streams = ["ring"]
    key_field = "key"


@register("folder")
class FolderMapping(RingMapping):
    model = models.Folder
    fields = ["parent", "size"]


@register("team")
class TeamMapping(RingMapping):
    model = models.Team
    fields = ["captain"]


@register("player")
class PlayerMapping(RingMapping):
    model = models.Player
    fields = ["team"]


@register("lock")
class LockMapping(RingMapping):
    model = models.Lock
    fields = ["spare"]


@register("doorkey")
class DoorKeyMapping(RingMapping):
    model = models.DoorKey
    fields = ["lock"]


@register("twin")
class TwinMapping(RingMapping):
    model = models.Twin
    key_field = "code"
    fields = ["other"]


@register("clipping")
class ClippingMapping(EntityMapping):
    streams = ["press-*"]
    model = models.Clipping
    key_field = "key"
    stream_field = "stream"
    fields = ["folder", "author"]


@register("loan")
class LoanMapping(EntityMapping):
    model = models.Loan
    key_field = "key"
    stream_field = "stream"
    fields = ["title"]
