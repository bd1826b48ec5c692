"""Leases: which seat consumes a stream."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .seat import Seat
from .stream import Stream

__all__ = ["Lease"]


class Lease(models.Model):
    """The right to consume one stream, which a seat holds for as long as it is in force itself.

    Invariant: ``token`` grows by one whenever the lease changes hands, and every commit compares
    it, so that a worker that slept through the end of its seat commits nothing. The table is
    separate, so that taking a lease never waits for a commit that has locked the stream's row.
    """

    class Lag(models.TextChoices):
        """Why the rows may not hold all that the stream's server has."""

        TAKEN = "taken", _("its worker has not reached the tail yet")
        COMMIT = "commit", _("what was read is not committed yet")
        LOCKED = "locked", _("another transaction has locked what a commit needs")
        SILENCE = "silence", _("nothing was heard from the server")

    stream = models.OneToOneField(
        Stream, on_delete=models.CASCADE, primary_key=True, related_name="lease"
    )
    seat = models.ForeignKey(
        Seat,
        null=True,
        on_delete=models.SET_NULL,
        related_name="leases",
        help_text="empty: nobody holds it",
    )
    token = models.BigIntegerField(default=0, help_text="fencing token")
    seen_at = models.DateTimeField(
        null=True, help_text="when it was taken, or when its last holder last showed a sign of life"
    )
    lags_since = models.DateTimeField(
        null=True, help_text="since when the rows lag; empty: since the last sign of life"
    )
    lags_because = models.CharField(max_length=8, choices=Lag.choices, default="")
    left_at_tail = models.BooleanField(
        default=False, help_text="its last holder stopped at the tail, as it was told to"
    )

    class Meta:
        verbose_name = _("lease")
        verbose_name_plural = _("leases")

    def __str__(self) -> str:
        return f"lease of stream {self.stream_id}"
