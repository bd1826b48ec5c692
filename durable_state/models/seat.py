"""Seats: the running consumers."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

__all__ = ["Seat"]


class Seat(models.Model):
    """One running consumer, or a place that is reserved for a task that was sent.

    Invariant: a seat, and every lease that it holds, is in force until ``expires_at`` on the
    database's clock. So a consumer of a thousand streams renews a single row.
    """

    name = models.CharField(_("name"), max_length=255, help_text="host:pid:purpose:nonce")
    capacity = models.PositiveIntegerField(
        default=0,
        help_text="how many streams it takes; 0: only the one it was started for",
    )
    is_vacant = models.BooleanField(
        default=False,
        help_text="reserved, with its streams, for a task that was sent",
    )
    joined_at = models.DateTimeField()
    seen_at = models.DateTimeField(help_text="when it last showed a sign of life")
    expires_at = models.DateTimeField()

    class Meta:
        verbose_name = _("seat")
        verbose_name_plural = _("seats")

    def __str__(self) -> str:
        return self.name
