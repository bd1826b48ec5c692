"""What rings for streams that nobody follows.

Why: decision 62.
"""

from __future__ import annotations

import hashlib
import uuid

from django.db import models
from django.utils import timezone

from .exact import WideTextField
from .located import Located
from .stream import Stream

__all__ = ["Doorbell", "WakeStream"]


def _new_subscription() -> str:
    return f"durable-state-{uuid.uuid4().hex}"


class WakeStream(models.Model):
    """A stream in which a server writes the wakes of pull-wake subscriptions, and who listens.

    Invariant: one holder listens at a time, until ``expires_at`` on the database's clock.
    """

    digest = models.CharField(max_length=64, primary_key=True)
    """Of the URL, which is too long for an index."""
    url = models.CharField(max_length=2000)
    offset = WideTextField(default="-1")
    """Where the next wake is read; opaque. Wakes before it have been written down."""
    skip = models.BigIntegerField(default=0)
    ordinal = models.BigIntegerField(default=0)
    holder = models.CharField(max_length=255, default="")
    expires_at = models.DateTimeField(null=True)
    last_error = WideTextField(default="")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.digest[:8]

    @staticmethod
    def digest_of(url: str) -> str:
        """The primary key of the wake stream with that URL."""
        return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()


class Doorbell(Located, models.Model):
    """What a stream is read for that holds no connection: its server rings, or it is time.

    Invariant: a ring with a generation that was rung before changes nothing, and a reader lets the
    stream rest only if no newer one has come since it began. A row of its own, so that a ring never
    waits for a commit that holds the stream's.
    """

    stream = models.OneToOneField(
        Stream, on_delete=models.CASCADE, primary_key=True, related_name="doorbell"
    )
    subscription = models.CharField(max_length=100, unique=True, default=_new_subscription)
    """Its id at the server."""
    wake_stream = models.ForeignKey(WakeStream, null=True, on_delete=models.SET_NULL)
    """Where it is told of; empty for a webhook."""
    due_at = models.DateTimeField(default=timezone.now, db_index=True)
    """From when on somebody is wanted who reads the stream: since it rang, or for safety."""
    is_rung = models.BooleanField(default=False)
    """Whether it rang since it was last read to its tail."""
    rung_at = models.DateTimeField(null=True)
    """When it last rang, to be shown."""
    generation = models.BigIntegerField(default=0)
    """The server's number of the newest wake."""
    wake_id = models.CharField(max_length=200, default="")
    """Of the wake that is to be acknowledged; empty where there is none."""
    token = models.TextField(default="")
    """What authorizes that, and nothing else; it is shown nowhere."""
    confirmed_at = models.DateTimeField(null=True)
    """When the server last said that it rings; empty where it is to be asked."""
    last_error = WideTextField(default="")
    """Why it does not ring, or does not take an acknowledgement."""
    action = WideTextField(default="")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"the doorbell of {self.stream_id}"
