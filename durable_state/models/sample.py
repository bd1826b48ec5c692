"""What happened to a stream lately, for the admin's charts."""

from __future__ import annotations

from django.db import models

from .stream import Stream

__all__ = ["StreamSample"]


class StreamSample(models.Model):
    """What happened to one stream within a few seconds; there is none if nothing happened.

    Kept for an hour, merged into whole minutes as they grow old. There is no database constraint,
    because with one a sample would wait for every commit of its stream.
    """

    stream = models.ForeignKey(
        Stream,
        on_delete=models.CASCADE,
        related_name="samples",
        db_constraint=False,
        db_index=False,
    )
    at = models.DateTimeField(db_index=True, help_text="end of the period")
    seconds = models.FloatField(help_text="length of the period")
    messages = models.BigIntegerField(default=0, help_text="messages read, including by a reset")
    commits = models.IntegerField(default=0)
    commit_ms = models.FloatField(default=0.0, help_text="total milliseconds of all commits")
    lag_ms = models.FloatField(default=0.0, help_text="the longest lag, in milliseconds")

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["stream", "at"], name="durable_state_sample_at")]

    def __str__(self) -> str:
        return f"{self.stream_id} at {self.at}: {self.messages} messages"
