"""The log that subscribers are served from."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from .stream import Stream

__all__ = ["FeedEntry"]


class FeedEntry(models.Model):
    """What one commit changed, numbered by the stream's revision without holes.

    ``changes`` is a JSON array of ``[type, key, operation, value?]``; without the value it is read
    from the rows when it is served. ``txids`` is one of ``[txid, type, key]``: which entities each
    transaction concerns, however they ended. ``snapshot`` tells subscribers to take the rows anew.
    """

    stream = models.ForeignKey(Stream, on_delete=models.CASCADE, related_name="feed")
    revision = models.BigIntegerField()
    changes = models.BinaryField(default=b"[]")
    txids = models.BinaryField(default=b"[]")
    snapshot = models.BooleanField(default=False)
    up_to_date = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        ordering = ["revision"]
        constraints = [
            models.UniqueConstraint(
                fields=["stream", "revision"], name="durable_state_feed_revision"
            )
        ]

    def __str__(self) -> str:
        return f"{self.stream_id} r{self.revision}"
