"""Who consumes a stream."""

from __future__ import annotations

from django.db import models

from .stream import Stream

__all__ = ["Lease"]


class Lease(models.Model):
    """The right to consume one stream, for a limited time on the database's clock.

    Invariant: ``token`` grows by one whenever the lease changes hands, and a commit compares it, so
    that a worker that slept through the end of its lease commits nothing. A table of its own:
    renewing it never waits for a commit that holds the stream's row.
    """

    class Lag(models.TextChoices):
        """Why the rows may not hold all that the stream's server has."""

        TAKEN = "taken", "its worker has not reached the tail yet"
        COMMIT = "commit", "what was read is not committed yet"
        SILENCE = "silence", "nothing was heard of the server"

    stream = models.OneToOneField(
        Stream, on_delete=models.CASCADE, primary_key=True, related_name="lease"
    )
    holder = models.CharField(max_length=255, default="", help_text="host:pid:purpose:nonce")
    token = models.BigIntegerField(default=0, help_text="fencing token")
    expires_at = models.DateTimeField(null=True, help_text="empty: nobody holds it")
    seen_at = models.DateTimeField(
        null=True, help_text="when its holder, or its last one, last showed a sign of life"
    )
    lags_since = models.DateTimeField(
        null=True, help_text="up to when the rows hold all; empty: until the last sign of life"
    )
    lags_because = models.CharField(max_length=8, choices=Lag.choices, default="")
    left_at_tail = models.BooleanField(
        default=False, help_text="its last holder was to read up to the tail only, and did"
    )

    def __str__(self) -> str:
        return f"{self.stream_id} held by {self.holder}"
