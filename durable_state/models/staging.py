"""Generations: complete states that are being read and are not shown yet.

Why: decision 4.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from durable_state.databases import database_of

from .exact import ExactCharField, ExactTextField
from .located import Located
from .stream import Stream

__all__ = ["Generation", "StagedChange", "UniqueWithoutGaps"]


class Generation(Located, models.Model):
    """One state in the making: an open snapshot, a rebuild, or the scratch of a verification;
    or one that is waiting to be deleted.
    """

    class Purpose(models.TextChoices):
        SNAPSHOT = "snapshot", _("snapshot")
        RESET = "reset", _("reset by the stream")
        REBUILD = "rebuild", _("rebuild from the stream's start")
        VERIFY = "verify", _("verification")
        DROPPED = "dropped", _("no longer needed")

    stream = models.ForeignKey(Stream, on_delete=models.CASCADE, related_name="generations")
    purpose = models.CharField(max_length=8, choices=Purpose.choices)
    changes = models.BigIntegerField(default=0)
    """How many messages were accepted into it; until the switch they count as neither applied nor
    superseded.
    """
    types = models.JSONField(default=dict)
    """By entity type, the fingerprint of the mapping by which the type was staged.

    "" if no single mapping staged it, because some messages had no mapping, or an earlier one.
    """
    repeats = models.BooleanField(default=False)
    """Whether an entity came twice, so that earlier changes have to be looked up while staging.

    A complete dump names each entity once.
    """
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.purpose} {self.pk}"


class UniqueWithoutGaps(models.UniqueConstraint):
    """A unique constraint; on MySQL and MariaDB only an index, which enforces nothing.

    There, an insert into a unique index locks the gaps next to a value that exists, or did lately,
    and other streams want to insert into these gaps. The values are unique all the same, because
    only one transaction at a time writes a generation.
    """

    def constraint_sql(self, model: Any, schema_editor: Any) -> Any:
        if _is_held(schema_editor.connection):
            return super().constraint_sql(model, schema_editor)
        schema_editor.deferred_sql.append(self._index().create_sql(model, schema_editor))
        return None

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        if _is_held(schema_editor.connection):
            return super().create_sql(model, schema_editor)
        return self._index().create_sql(model, schema_editor)

    def remove_sql(self, model: Any, schema_editor: Any) -> Any:
        if _is_held(schema_editor.connection):
            return super().remove_sql(model, schema_editor)
        return self._index().remove_sql(model, schema_editor)

    def _index(self) -> models.Index:
        return models.Index(fields=self.fields, name=self.name)


def _is_held(connection: BaseDatabaseWrapper) -> bool:
    """Whether the database itself enforces a ``UniqueWithoutGaps``."""
    return database_of(connection).holds_unique_without_gaps


class StagedChange(models.Model):
    """One entity of a generation, with its newest accepted change."""

    generation = models.ForeignKey(
        # Nothing else deletes generations, and PostgreSQL would look up each row's at COMMIT.
        Generation,
        on_delete=models.CASCADE,
        related_name="staged",
        db_index=False,
        db_constraint=False,
    )
    type = ExactCharField(max_length=255)
    entity = models.CharField(max_length=64)
    """The digest of generation, type and key, which is unique by itself.

    A database without statistics of this table, because all its rows are new, uses this index and
    no other.
    """
    key = ExactTextField()
    ordinal = models.BigIntegerField()
    body = models.BinaryField()
    """The change as bytes."""
    prepared = models.BinaryField()
    """What the mapping made of it."""
    older = models.BinaryField(default=b"")
    """The changes before it, if the database may still refuse this one: see
    ``materializer/staged/older.py``.
    """

    class Meta:
        default_permissions = ()
        # Not `unique=True`: Django would make PostgreSQL a second index of it, for LIKE.
        constraints = [UniqueWithoutGaps(fields=["entity"], name="durable_state_staged_entity")]
        indexes = [
            models.Index(
                fields=["generation", "type", "ordinal"], name="durable_state_staged_order"
            )
        ]

    def __str__(self) -> str:
        return f"{self.type}, message {self.ordinal}"
