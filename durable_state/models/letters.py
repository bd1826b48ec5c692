"""Dead letters: changes that were refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .exact import ExactTextField, WideTextField
from .stream import Stream

__all__ = ["DeadLetter", "entity_digest", "entity_digests"]


def entity_digest(entity_type: str, key: str) -> str:
    """The fixed-length name of an entity: 64 hex digits.

    Keys may be of any length, hold NUL, and differ only in case; the digest can be indexed and
    compared alike on every database.
    """
    return entity_digests(entity_type, [key])[0]


def entity_digests(entity_type: str, keys: Iterable[str]) -> list[str]:
    """``entity_digest`` for many entities of one type."""
    prefix, sha256 = f"{len(entity_type)}:{entity_type}", hashlib.sha256
    return [sha256((prefix + key).encode("utf-8", "surrogatepass")).hexdigest() for key in keys]


class DeadLetter(models.Model):
    """A message that was refused, whole, with the reason; one per entity, the newest."""

    NO_ENTITY = "#"
    """What ``entity`` begins with where a message has none (no key, not an object)."""
    SHOWN = 0
    """The ``generation`` of letters that belong to the shown rows."""
    REPLAYED = -1
    """The ``generation`` of letters without an entity that a replay met."""

    stream = models.ForeignKey(
        Stream, on_delete=models.CASCADE, related_name="dead_letters", db_index=False
    )
    generation = models.BigIntegerField(default=SHOWN, editable=False)
    """The staged state that it was met in, by primary key; or ``SHOWN``, or ``REPLAYED``."""
    entity = models.CharField(max_length=64, editable=False)
    """The digest of type and key; for a message without them ``NO_ENTITY`` and its ordinal."""
    type = ExactTextField(default="", help_text="entity type, as far as it can be shown")
    key = ExactTextField(default="", help_text="entity key, as far as it can be shown")
    ordinal = models.BigIntegerField(help_text="which message of the stream, counted from 1")
    reason = models.CharField(max_length=40, db_index=True, help_text="reason code")
    detail = WideTextField(default="")
    body = models.BinaryField(help_text="the message, in bytes")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-ordinal"]
        verbose_name = _("dead letter")
        verbose_name_plural = _("dead letters")
        constraints = [
            models.UniqueConstraint(
                fields=["stream", "generation", "entity"], name="durable_state_letter_entity"
            ),
        ]
        # For lists with the newest first, of one stream or of all, however many there are.
        indexes = [
            models.Index(fields=["stream", "generation", "id"], name="durable_state_letter_newest")
        ]

    def __str__(self) -> str:
        # Without the key: pages show this to users who may see the letter but not the row.
        return f"message {self.ordinal} ({self.type or 'no type'}): {self.reason}"

    @property
    def is_malformed(self) -> bool:
        """Whether the message names no entity, so that trying it again changes nothing."""
        return self.entity.startswith(self.NO_ENTITY)
