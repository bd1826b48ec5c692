"""Doorbells: how a server has a stream read that no worker follows.

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
    """A stream in which a server announces the wakes of pull-wake subscriptions.

    Invariant: one holder listens to it at a time, until ``expires_at`` on the database's clock.
    """

    digest = models.CharField(max_length=64, primary_key=True)
    """The digest of the URL, which is too long for an index."""
    url = models.CharField(max_length=2000)
    offset = WideTextField(default="-1")
    """Where the next wake is read; opaque. Earlier wakes are recorded in their doorbells."""
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
    """When a stream without a connection has to be read: once its server rings, or in due time.

    Invariant: a ring whose generation has been seen before changes nothing, and a reader lets the
    stream rest only if no newer ring has come since it began. It is a row of its own, so that a
    ring never waits for a commit that has locked the stream's row.
    """

    stream = models.OneToOneField(
        Stream, on_delete=models.CASCADE, primary_key=True, related_name="doorbell"
    )
    subscription = models.CharField(max_length=100, unique=True, default=_new_subscription)
    """The id of the subscription at the server."""
    wake_stream = models.ForeignKey(WakeStream, null=True, on_delete=models.SET_NULL)
    """Where its wakes are announced; empty for a webhook."""
    due_at = models.DateTimeField(default=timezone.now, db_index=True)
    """From when on the stream needs a reader: since it rang, or for the next regular read."""
    is_rung = models.BooleanField(default=False)
    """Whether it has rung since the stream was last read to its tail."""
    rung_at = models.DateTimeField(null=True)
    """When it last rang, for display only."""
    generation = models.BigIntegerField(default=0)
    """The server's number of the newest wake."""
    wake_id = models.CharField(max_length=200, default="")
    """The wake that is to be acknowledged; empty if there is none."""
    token = models.TextField(default="")
    """Authorizes that acknowledgement and nothing else; never shown."""
    confirmed_at = models.DateTimeField(null=True)
    """When the server last confirmed the subscription; empty if it has to be asked."""
    last_error = WideTextField(default="")
    """Why it does not ring, or why an acknowledgement failed."""
    action = WideTextField(default="")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"the doorbell of {self.stream_id}"
