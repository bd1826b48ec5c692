"""Entities that the tables cannot show yet, and what tells when they can."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .exact import ExactCharField, ExactTextField, WideTextField
from .stream import Stream

__all__ = ["Arrival", "AwaitedModel", "KeptRow", "ParkedChange"]


class ParkedChange(models.Model):
    """The newest change of an entity that the stream holds and the tables cannot show yet."""

    class Reason(models.TextChoices):
        PARENT = "parent", _("parent is not shown")
        UNIQUE = "unique", _("unique value is taken")
        LINK = "link", _("shown without its parent")
        """The row has NULL or the default instead of its parent (``on_delete`` SET_NULL and
        SET_DEFAULT), and waits to be linked.
        """

    stream = models.ForeignKey(
        Stream, on_delete=models.CASCADE, related_name="parked_changes", db_index=False
    )
    entity = models.CharField(max_length=64, editable=False)
    type = ExactCharField(max_length=255)
    key = ExactTextField()
    ordinal = models.BigIntegerField()
    reason = models.CharField(max_length=20, choices=Reason)
    stale = models.BooleanField(default=False, help_text="the entity's older row is still shown")
    waits_for = models.CharField(
        max_length=64,
        default="",
        db_index=True,
        help_text="digest of the missing parent or of the holder",
    )
    """The entity that it waits for: the missing parent, or the holder of the unique value."""
    waits_on = models.CharField(
        max_length=200, default="", db_index=True, help_text="its model, if of another stream"
    )
    waits_type = ExactCharField(max_length=255, default="", help_text="the entity's type")
    waits_key = ExactTextField(default="", help_text="the entity's key")
    polled = models.BooleanField(
        default=False, help_text="tried regularly, because nothing announces when it can be shown"
    )
    detail = WideTextField(default="")
    body = models.BinaryField()
    """The change as bytes."""
    prepared = models.BinaryField()
    """What the mapping made of it."""
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["ordinal"]
        verbose_name = _("parked change")
        verbose_name_plural = _("parked changes")
        constraints = [
            models.UniqueConstraint(fields=["stream", "entity"], name="durable_state_parked_entity")
        ]
        indexes = [
            models.Index(fields=["stream", "polled"], name="durable_state_parked_polled"),
            models.Index(fields=["stream", "id"], name="durable_state_parked_newest"),
        ]

    def __str__(self) -> str:
        # Without the key: pages show this to users who may see the change but not the row.
        return f"message {self.ordinal} ({self.type}): {self.reason}"

    @property
    def is_link(self) -> bool:
        """Whether the change itself is shown, and only waits to be linked to its parent."""
        return self.reason == self.Reason.LINK


class KeptRow(models.Model):
    """What an entity gets back when it is shown again, because its row had to go meanwhile.

    ``columns`` holds the primary key and the columns that the mapping does not list, as
    ``materializer/rows/kept.py`` writes them. Deleted once the entity is shown again, or once the
    stream deletes it.
    """

    stream = models.ForeignKey(
        Stream, on_delete=models.CASCADE, related_name="kept_rows", db_index=False
    )
    entity = models.CharField(max_length=64, editable=False)
    type = ExactCharField(max_length=255)
    key = ExactTextField()
    columns = models.BinaryField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["stream", "entity"], name="durable_state_kept_entity")
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.key}"


class Arrival(models.Model):
    """Says that another stream has shown a parent for which changes of ``stream`` wait.

    The next commit of ``stream`` takes it up. There is no database constraint, because with one the
    other stream's commit would wait for every commit of this one.
    """

    stream = models.ForeignKey(
        Stream, on_delete=models.CASCADE, related_name="arrivals", db_constraint=False
    )
    digest = models.CharField(max_length=64, help_text="what ``ParkedChange.waits_for`` says")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.digest} for {self.stream_id}"


class AwaitedModel(models.Model):
    """A lock that a transaction holds to its end if it shows rows of the model, or parks changes
    that wait for such rows.

    So of two such commits one sees what the other did, and no change waits for a parent that is
    shown.
    """

    model = models.CharField(max_length=200, unique=True, help_text="app_label.modelname")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.model
