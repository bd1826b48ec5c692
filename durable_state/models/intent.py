"""The audit trail: who asked for what."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .exact import WideTextField

__all__ = ["Intent"]


class Intent(models.Model):
    """One verb that a person or a program asked for, kept as an audit trail;
    it outlives its stream.
    """

    stream_name = models.CharField(_("stream"), max_length=100)
    verb = models.CharField(_("verb"), max_length=20)
    actor = models.CharField(
        _("by"), max_length=200, help_text="user name, or where the command ran"
    )
    detail = WideTextField(_("detail"), default="")
    times = models.PositiveIntegerField(
        _("times"),
        default=1,
        help_text="how often in a row, for what cron repeats",
    )
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = _("activity entry")
        verbose_name_plural = _("activity entries")
        indexes = [
            models.Index(fields=["stream_name", "created_at"], name="durable_state_intent_newest")
        ]

    def __str__(self) -> str:
        return f"{self.verb} {self.stream_name} by {self.actor}"
