"""Changes that have no row: refused ones and those that wait."""

from __future__ import annotations

import hashlib

from django.db import models
from django.utils import timezone

from .exact import ExactCharField, ExactTextField
from .stream import Stream

__all__ = ["DeadLetter", "ParkedChange", "entity_digest"]


def entity_digest(entity_type: str, key: str) -> str:
    """The fixed-length name of an entity: 64 hex digits.

    Keys may be of any length, hold NUL, and differ only in case; the digest can be indexed and compared alike on every database.
    """
    return hashlib.sha256(f"{len(entity_type)}:{entity_type}{key}".encode("utf-8", "surrogatepass")).hexdigest()


class DeadLetter(models.Model):
    """A message that was refused, whole, with the reason; one per entity, the newest.

    ``entity`` is the digest of (type, key); for a message without an entity (no key, not an object) it is ``#`` and its ordinal.
    ``generation`` 0 belongs to the shown rows, others to the staged state they were met in.
    """

    NO_ENTITY = "#"

    stream = models.ForeignKey(Stream, on_delete=models.CASCADE, related_name="dead_letters")
    generation = models.BigIntegerField(default=0, editable=False)
    entity = models.CharField(max_length=64, editable=False)
    type = ExactTextField(default="", help_text="entity type, as far as it can be shown")
    key = models.TextField(default="", help_text="entity key, as far as it can be shown")
    ordinal = models.BigIntegerField(help_text="which message of the stream, counted from 1")
    reason = models.CharField(max_length=40, db_index=True, help_text="reason code")
    detail = models.TextField(default="")
    body = models.BinaryField(help_text="the message's bytes")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-ordinal"]
        constraints = [
            models.UniqueConstraint(fields=["stream", "generation", "entity"], name="durable_state_letter_entity"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.key}: {self.reason}"


class ParkedChange(models.Model):
    """An entity that the stream holds and the tables cannot show yet: its parent is missing or its unique value is taken.

    ``body`` is the change as bytes, ``prepared`` what the mapping made of it. ``hidden`` is False where a row is still shown without
    its parent (``on_delete=SET_NULL``).
    """

    stream = models.ForeignKey(Stream, on_delete=models.CASCADE, related_name="parked_changes")
    entity = models.CharField(max_length=64, editable=False)
    type = ExactCharField(max_length=255)
    key = models.TextField()
    ordinal = models.BigIntegerField()
    reason = models.CharField(
        max_length=20, choices=[("parent", "parent is not shown"), ("unique", "unique value is taken")]
    )
    waits_for = models.CharField(max_length=64, default="", db_index=True, help_text="digest of the missing parent")
    detail = models.TextField(default="")
    body = models.BinaryField()
    prepared = models.BinaryField()
    hidden = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["ordinal"]
        constraints = [models.UniqueConstraint(fields=["stream", "entity"], name="durable_state_parked_entity")]

    def __str__(self) -> str:
        return f"{self.type} {self.key}: {self.detail}"
