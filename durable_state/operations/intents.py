"""The frame of every verb: a transaction that locks the stream's row and leaves an audit entry."""

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
    """The stream, as it is now, locked."""
    replay: Replay | None
    """The stream's replay, as it is now, locked; None if it has none."""
    using: str
    """The alias of their database."""
    intent: Intent
    """The audit entry."""

    def detail(self, text: str) -> None:
        """Writes into the audit entry what the verb found or did."""
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
    """Writes the audit entry of a verb that may be repeated every minute, as by cron.

    If the stream's newest entry says the same, its count and time are raised instead.
    """
    intents = Intent.objects.using(using)
    newest = intents.filter(stream_name=stream_name).first()
    if newest is None or (newest.verb, newest.actor, newest.detail) != (verb, actor[:200], detail):
        return record(using, stream_name, verb, actor, detail)
    intents.filter(pk=newest.pk).update(times=F("times") + 1, created_at=database_now(using))
    return newest


@contextmanager
def intended(stream: Stream, verb: str, actor: str, detail: str = "") -> Iterator[Intended]:
    """A transaction in which the rows of the stream and its replay are read again and locked.

    It needs no lease, even if a worker holds one: a worker's commits compare the revision and read
    the row again.
    Raises: OperationRefused, if the stream is no longer there.
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
    """Wakes the subscribers once the verb is committed, so that they look into the feed log."""
    using = stream.using
    transaction.on_commit(
        lambda: async_to_sync(feed.ring)(stream.name, stream.pk, stream.revision, using, b""),
        using=using,
        robust=True,
    )
