"""The log that subscribers are served from."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .stream import Stream

__all__ = ["FeedEntry", "HeldRows"]


class FeedEntry(models.Model):
    """What one commit changed, numbered by the stream's revision without gaps."""

    stream = models.ForeignKey(
        Stream, on_delete=models.CASCADE, related_name="feed", db_index=False
    )
    revision = models.BigIntegerField()
    changes = models.BinaryField(default=b"[]")
    """A JSON array of ``[type, key, operation, value?]``.

    A value that is left out is read from the row when the entry is served. If ``snapshot`` is set,
    these are the deletions alone, or ``null`` if even they are too many.
    """
    txids = models.BinaryField(default=b"[]")
    """A JSON array of ``[txid, type, key]``: the entities that each transaction concerns, whatever
    became of them.
    """
    snapshot = models.BooleanField(default=False)
    """Whether subscribers have to read all rows again."""
    up_to_date = models.BooleanField(default=False)
    """Whether the stream's tail was reached with this commit."""
    log_bytes = models.BigIntegerField(default=0)
    """The bytes of all entries of the stream up to and including this one, even deleted ones, so
    that two entries tell how many bytes lie between them.
    """
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        ordering = ["revision"]
        verbose_name = _("feed entry")
        verbose_name_plural = _("feed entries")
        constraints = [
            models.UniqueConstraint(
                fields=["stream", "revision"], name="durable_state_feed_revision"
            )
        ]

    def __str__(self) -> str:
        return f"commit {self.revision}"


class HeldRows(models.Model):
    """The entities that a reader of the feed endpoint holds, of types of which it may see only some
    rows.

    An offset names it. It never changes, so that a reader who lost an answer can ask again.
    """

    stream = models.ForeignKey(Stream, on_delete=models.CASCADE, related_name="+", db_index=False)
    digest = models.CharField(max_length=32)
    """The digest of reader, parent and keys."""
    parent = models.CharField(max_length=32, blank=True)
    """The digest of the row whose keys are held as well; "" if ``keys`` are all."""
    keys = models.BinaryField()
    """Compressed JSON: the keys by entity type."""
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["stream", "digest"], name="durable_state_held_rows")
        ]

    def __str__(self) -> str:
        return f"{self.stream_id} {self.digest}"
