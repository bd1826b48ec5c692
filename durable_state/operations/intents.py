"""The frame of every verb:
one transaction that holds the stream's row and leaves an audit entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from asgiref.sync import async_to_sync
from django.db import transaction
from django.db.models import F

from durable_state import feed
from durable_state.consumer import hold_replay
from durable_state.databases.clock import database_now
from durable_state.databases.transaction import commit_transaction
from durable_state.errors import OperationRefused
from durable_state.models import Intent, Replay, Stream

__all__ = ["Intended", "intended", "record", "record_again", "ring"]


@dataclass(frozen=True, slots=True)
class Intended:
    """A verb under way, in its transaction."""

    stream: Stream
    """As it is now, locked."""
    replay: Replay | None
    """The stream's, as it is now, locked; None where it has none."""
    using: str
    """The database that they live in."""
    intent: Intent
    """The audit entry."""

    def detail(self, text: str) -> None:
        """Says in the audit entry what the verb met or did."""
        self.intent.detail = text
        self.intent.save(using=self.using, update_fields=["detail"])


def record(using: str, stream_name: str, verb: str, actor: str, detail: str = "") -> Intent:
    """Writes the audit entry of a verb; call it inside the verb's transaction, if it has one."""
    return Intent.objects.using(using).create(
        stream_name=stream_name,
        verb=verb,
        actor=actor[:200],
        detail=detail,
        created_at=database_now(using),
    )


def record_again(using: str, stream_name: str, verb: str, actor: str, detail: str) -> Intent:
    """Writes the audit entry of a verb that may be repeated each minute, as by cron.

    Where the stream's newest entry says the same, that one is of now, and counts.
    """
    intents = Intent.objects.using(using)
    newest = intents.filter(stream_name=stream_name).first()
    if newest is None or (newest.verb, newest.actor, newest.detail) != (verb, actor[:200], detail):
        return record(using, stream_name, verb, actor, detail)
    intents.filter(pk=newest.pk).update(times=F("times") + 1, created_at=database_now(using))
    return newest


@contextmanager
def intended(stream: Stream, verb: str, actor: str, detail: str = "") -> Iterator[Intended]:
    """A transaction in which the stream's row is read again and locked, and its replay's;
    all or nothing of it is kept.

    No lease is needed, even where a worker holds one: its commits compare the revision and read the
    row again.
    Raises: OperationRefused, when the stream is no longer there.
    """
    using = stream.using
    with commit_transaction(using):
        replay = hold_replay(stream)
        current = Stream.objects.using(using).select_for_update().filter(pk=stream.pk).first()
        if current is None:
            raise OperationRefused(
                f"The stream {stream.name!r} is no longer there.", "It was removed in the meantime."
            )
        yield Intended(current, replay, using, record(using, current.name, verb, actor, detail))


def ring(stream: Stream) -> None:
    """Wakes the subscribers, once what the verb wrote is committed:
    they look into the feed log from ``stream.revision`` on.
    """
    using = stream.using
    transaction.on_commit(
        lambda: async_to_sync(feed.ring)(stream.name, stream.pk, stream.revision, using, b""),
        using=using,
        robust=True,
    )
