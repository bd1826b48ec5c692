"""Which stream a table belongs to,
and how a stream's types were mapped when they were last folded.
"""

from __future__ import annotations

from django.db import models

from .exact import ExactTextField
from .stream import Stream

__all__ = ["TableOwner", "TypeState"]


class TableOwner(models.Model):
    """The one stream that a table without a stream field belongs to.

    The unique label makes sure that there is only one.
    """

    model = models.CharField(max_length=200, unique=True, help_text="app_label.modelname")
    stream = models.ForeignKey(Stream, on_delete=models.CASCADE, related_name="tables")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.model} belongs to {self.stream_id}"


class TypeState(models.Model):
    """One entity type of one stream."""

    stream = models.ForeignKey(
        Stream, on_delete=models.CASCADE, related_name="types", db_index=False
    )
    digest = models.CharField(max_length=64, editable=False)
    type = ExactTextField()
    fingerprint = models.CharField(max_length=64, default="")
    """The fingerprint of the mapping that made its rows."""
    unregistered = models.BigIntegerField(default=0)
    """How many of its messages met no mapping."""
    needs_reset = models.BooleanField(default=False)
    """Whether only a reset can make the rows equal to the stream.

    That is so once messages were skipped, or if an older mapping made the rows.
    """
    sample = models.JSONField(default=dict)
    """What became of a few of its changes: see ``materializer/batch/sampling.py``."""

    class Meta:
        default_permissions = ()
        ordering = ["type"]
        constraints = [
            models.UniqueConstraint(fields=["stream", "digest"], name="durable_state_type")
        ]

    def __str__(self) -> str:
        return str(self.type)
