"""Streams and their replays: address, position, and what became of the messages."""

from __future__ import annotations

from typing import Any

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from durable_state.protocol.position import Position

from .exact import WideTextField
from .located import Located

__all__ = [
    "DISPOSITIONS",
    "DOORBELLS",
    "FAILING",
    "FOLLOWED",
    "STREAM_NAME",
    "Live",
    "Progress",
    "Replay",
    "Status",
    "Stream",
]

STREAM_NAME = "[A-Za-z0-9._-]{1,100}"
"""What a stream may be called, as a regular expression."""

DISPOSITIONS = {
    "applied": "applied_count",
    "no_row": "no_row_count",
    "parked": "parked_count",
    "dead_letters": "dead_letter_count",
    "unregistered": "unregistered_count",
    "control": "control_count",
    "superseded": "superseded_count",
}
"""What may become of a message when it is read, and the column that counts such messages.

With the staged changes of open generations the counts add up to the ordinal.
"""


class Status(models.TextChoices):
    """What the consumer last reported of a stream. ``paused`` is a flag of its own."""

    NEW = "new", "new"
    CATCHING_UP = "catching-up", "catching up"
    LIVE = "live", "live"
    CLOSED = "closed", "closed"
    RETRYING = "retrying", "retrying"
    MISSING = "missing", "missing"
    HALTED = "halted", "halted"
    NEEDS_RESET = "needs-reset", "needs reset"


FAILING = (Status.RETRYING, Status.MISSING)
"""The statuses in which a worker retries automatically."""


class Live(models.TextChoices):
    """How a stream is followed once its tail is reached."""

    SSE = "sse", "SSE"
    LONG_POLL = "long-poll", "long-poll"
    WEBHOOK = "webhook", "webhook"
    PULL_WAKE = "pull-wake", "pull-wake"


DOORBELLS = (Live.WEBHOOK, Live.PULL_WAKE)
"""Modes without a connection: the stream is read to its tail whenever its server rings."""

FOLLOWED = (Live.SSE, Live.LONG_POLL)
"""Modes that hold a connection at the tail."""


class Progress(Located, models.Model):
    """How far a stream has been folded, what became of its messages, and how the fold fares.

    Invariant: ``revision`` counts the commits. Position, counters and what was folded change only
    in a transaction that found the ``revision`` it had read (compare-and-set), so each message is
    folded exactly once.
    """

    revision = models.BigIntegerField(
        default=0, editable=False, help_text="number of the last commit"
    )
    offset = WideTextField(default="-1", editable=False, help_text="the server's token; opaque")
    skip = models.BigIntegerField(
        default=0, editable=False, help_text="messages already applied from the response at offset"
    )
    ordinal = models.BigIntegerField(
        default=0, editable=False, help_text="messages read since the stream's start"
    )
    checkpoint = models.JSONField(
        null=True, editable=False, help_text="what the stream is recognized by"
    )
    reread_at = models.DateTimeField(
        null=True, editable=False, help_text="when it was last read again and recognized"
    )
    snapshot = models.OneToOneField(
        "durable_state.Generation",
        null=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="open snapshot",
    )
    rebuild = models.OneToOneField(
        "durable_state.Generation",
        null=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="open rebuild",
    )

    status = models.CharField(
        max_length=12, choices=Status.choices, default=Status.NEW, editable=False
    )
    since = models.DateTimeField(
        default=timezone.now, editable=False, help_text="when the status began"
    )
    last_error = WideTextField(
        default="", editable=False, help_text="what failed; quotes no value of a row"
    )
    last_error_detail = WideTextField(
        default="", editable=False, help_text="for those who may see the rows: quotes values"
    )
    last_error_type = WideTextField(
        default="", editable=False, help_text="the entity type of those rows; empty: all types"
    )
    last_error_at = models.DateTimeField(null=True, editable=False)
    hangs_in = WideTextField(
        default="", editable=False, help_text="the project's function that did not return in time"
    )
    action = WideTextField(default="", editable=False, help_text="what to do about it")
    failures = models.IntegerField(default=0, editable=False, help_text="failed attempts in a row")
    retry_at = models.DateTimeField(null=True, editable=False)

    rate = models.FloatField(
        default=0.0, editable=False, help_text="messages read per second, smoothed"
    )
    moved_at = models.DateTimeField(
        null=True, editable=False, help_text="when messages were last committed"
    )

    # The columns of DISPOSITIONS.
    applied_count = models.BigIntegerField(default=0, editable=False)
    no_row_count = models.BigIntegerField(default=0, editable=False)
    parked_count = models.BigIntegerField(default=0, editable=False)
    dead_letter_count = models.BigIntegerField(default=0, editable=False)
    unregistered_count = models.BigIntegerField(default=0, editable=False)
    control_count = models.BigIntegerField(default=0, editable=False)
    superseded_count = models.BigIntegerField(default=0, editable=False)

    class Meta:
        abstract = True

    @property
    def position(self) -> Position:
        """Where the next message is read."""
        return Position(self.offset, self.skip, self.ordinal)

    @property
    def stream_pk(self) -> int:
        """The primary key of the stream that is folded."""
        raise NotImplementedError


class Stream(Progress):
    """A remote stream and how far it has been materialized.

    Its rows and feed entries change with ``revision`` too, in the same transactions.
    """

    name = models.CharField(
        _("name"),
        max_length=100,
        unique=True,
        validators=[RegexValidator(rf"\A{STREAM_NAME}\Z", "Use 1 to 100 of A-Z a-z 0-9 . _ -")],
    )
    url = models.CharField(
        max_length=2000, help_text="http(s) address of the durable stream, without user info"
    )
    live = models.CharField(max_length=9, choices=Live.choices, default=Live.SSE)
    heartbeat_seconds = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="how long the server may be silent while it has nothing new; "
        "empty: 75 seconds, and 45 for long-poll",
    )
    detour = WideTextField(
        default="",
        editable=False,
        help_text="how its tail is followed, and why, if not as live says",
    )
    paused = models.BooleanField(default=False)
    ttl_seconds = models.BigIntegerField(
        null=True,
        editable=False,
        help_text="the server drops the stream if nobody reads or writes it for this long",
    )
    expires_at = models.DateTimeField(
        null=True, editable=False, help_text="when the server drops the stream in any case"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    up_to_date_at = models.DateTimeField(
        null=True, editable=False, help_text="when the tail was last reached"
    )
    log_bytes = models.BigIntegerField(
        default=0, editable=False, help_text="bytes ever written into its feed log"
    )
    logged_at = models.DateTimeField(
        null=True, editable=False, help_text="when its feed log was last written"
    )

    class Meta:
        ordering = ["name"]
        verbose_name = _("stream")
        verbose_name_plural = _("streams")
        # Finds followed and new streams without going through all that wait for their doorbells.
        indexes = [models.Index(fields=["live", "status"], name="durable_state_stream_live")]

    left: Any = None
    """No column. What this object's last commit left for the next one, by
    ``consumer/expectation.py``.
    """

    def __str__(self) -> str:
        return self.name

    @property
    def has_doorbell(self) -> bool:
        """Whether it is read only when its server rings for it."""
        return self.live in DOORBELLS

    @property
    def followed_by(self) -> Any:
        """How a connection is held at its tail; None if there is none."""
        return None if self.has_doorbell else self.live

    @property
    def stream_pk(self) -> int:
        """Its own primary key."""
        return self.pk


class Replay(Progress):
    """A stream folded once more, from its start, into a rebuild that replaces the shown rows
    when it has caught up with them.

    The stream goes on being consumed meanwhile, from its own position.
    """

    stream = models.OneToOneField(Stream, on_delete=models.CASCADE, related_name="replay")
    entity_type = WideTextField(default="")
    """The one type that is folded again; "" stands for the whole stream."""
    unregistered = models.JSONField(default=dict)
    """The messages that met no mapping, by digest of the type: ``{digest: [type, count]}``."""
    samples = models.JSONField(default=dict)
    """The samples for ``TypeState``, by the digest of the type: ``{digest: [type, sample]}``."""
    txids = models.BinaryField(default=b"[]")
    """The newest txids, which the stream's own reader may not have met, as in ``FeedEntry``."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"the replay of {self.stream}"

    @property
    def stream_pk(self) -> int:
        """The primary key of the stream that is replayed."""
        return self.stream_id
