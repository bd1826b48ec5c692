"""The stream: its address, its position, and what became of its messages."""

from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from durable_state.protocol.position import Position

__all__ = ["Status", "Stream"]


class Status(models.TextChoices):
    """What the consumer last said of a stream. ``paused`` is a flag of its own."""

    NEW = "new", "new"
    CATCHING_UP = "catching-up", "catching up"
    LIVE = "live", "live"
    CLOSED = "closed", "closed"
    RETRYING = "retrying", "retrying"
    HALTED = "halted", "halted"
    NEEDS_RESET = "needs-reset", "needs reset"


class Stream(models.Model):
    """A remote stream and how far it has been materialized.

    Invariant: ``revision`` counts the commits. Rows, position, counters and feed entry change only in a transaction that found the
    ``revision`` it had read (compare-and-set), so each message is materialized exactly once.
    """

    name = models.CharField(
        max_length=100,
        unique=True,
        validators=[RegexValidator(r"\A[A-Za-z0-9._-]{1,100}\Z", "Use 1 to 100 of A-Z a-z 0-9 . _ -")],
    )
    url = models.CharField(max_length=2000, help_text="http(s) address of the durable stream, without user info")
    live = models.CharField(max_length=9, choices=[("sse", "SSE"), ("long-poll", "long-poll")], default="sse")
    paused = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    revision = models.BigIntegerField(default=0, editable=False, help_text="number of the last commit")
    offset = models.TextField(default="-1", editable=False, help_text="the server's token; opaque")
    skip = models.BigIntegerField(
        default=0, editable=False, help_text="messages already applied of the response at offset"
    )
    ordinal = models.BigIntegerField(default=0, editable=False, help_text="messages read since the stream's start")
    checkpoint_offset = models.TextField(null=True, editable=False)
    checkpoint_fingerprint = models.CharField(max_length=200, default="", editable=False)
    snapshot = models.OneToOneField(
        "Generation", null=True, editable=False, on_delete=models.SET_NULL, related_name="+", help_text="open snapshot"
    )
    rebuild = models.OneToOneField(
        "Generation", null=True, editable=False, on_delete=models.SET_NULL, related_name="+", help_text="open rebuild"
    )

    status = models.CharField(max_length=12, choices=Status.choices, default=Status.NEW, editable=False)
    since = models.DateTimeField(default=timezone.now, editable=False, help_text="when the status began")
    up_to_date_at = models.DateTimeField(null=True, editable=False, help_text="when the tail was last reached")
    last_error = models.TextField(default="", editable=False)
    last_error_at = models.DateTimeField(null=True, editable=False)
    action = models.TextField(default="", editable=False, help_text="what to do about it")
    failures = models.IntegerField(default=0, editable=False, help_text="failed attempts in a row")
    retry_at = models.DateTimeField(null=True, editable=False)
    dispatched_at = models.DateTimeField(null=True, editable=False, help_text="when a consume task was last sent")

    # First dispositions: with the staged changes of open generations they add up to ``ordinal``.
    applied_count = models.BigIntegerField(default=0, editable=False)
    no_row_count = models.BigIntegerField(default=0, editable=False)
    parked_count = models.BigIntegerField(default=0, editable=False)
    dead_letter_count = models.BigIntegerField(default=0, editable=False)
    unregistered_count = models.BigIntegerField(default=0, editable=False)
    control_count = models.BigIntegerField(default=0, editable=False)
    superseded_count = models.BigIntegerField(default=0, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def position(self) -> Position:
        """Where the next message is read."""
        return Position(self.offset, self.skip, self.ordinal)
