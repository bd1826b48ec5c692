"""Folding a stream again from its start, beside the rows that are shown."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.utils import timezone

from durable_state import feed
from durable_state.materializer import drop, sweep
from durable_state.models import DeadLetter, Generation, Status, Stream, TypeState
from durable_state.protocol import START

from .commit import lock
from .transaction import commit_transaction

__all__ = ["begin_replay", "sweep_dropped"]


def begin_replay(stream: Stream, token: int | None = None) -> None:
    """Puts the position back to the stream's start and opens a rebuild; call it in a transaction.

    The rows stay as they are until the tail is reached; then one transaction switches. An open snapshot or rebuild is dropped and the
    counters begin at 0. Whoever consumes the stream meanwhile notices by the revision.
    Raises: RevisionConflict, LeaseLost.
    """
    using = stream._state.db
    current = lock(stream, token)
    others = (Generation.Purpose.VERIFY, Generation.Purpose.DROPPED)
    generations = list(Generation.objects.using(using).filter(stream=current).exclude(purpose__in=others))
    letters = DeadLetter.objects.using(using).filter(stream=current)
    # Letters without an entity are met again under the same ordinals; no later change supersedes them.
    letters.filter(
        Q(generation__in=[generation.pk for generation in generations]) | Q(entity__startswith=DeadLetter.NO_ENTITY)
    ).delete()
    Stream.objects.using(using).filter(pk=current.pk).update(snapshot=None, rebuild=None)
    for generation in generations:
        drop(generation)
    TypeState.objects.using(using).filter(stream=current).update(unregistered=0)
    revision = current.revision + 1
    rebuild = Generation.objects.using(using).create(stream=current, purpose=Generation.Purpose.REPLAY)
    values: dict[str, Any] = {field.name: 0 for field in Stream._meta.fields if field.name.endswith("_count")}
    values |= {
        "revision": revision,
        "offset": START.offset,
        "skip": START.skip,
        "ordinal": START.ordinal,
        "checkpoint_offset": None,
        "checkpoint_fingerprint": "",
        "rebuild": rebuild,
        "status": Status.CATCHING_UP,
        "since": timezone.now(),
        "failures": 0,
        "retry_at": None,
        "last_error": "",
        "last_error_at": None,
        "action": "",
        "dispatched_at": None,
    }
    Stream.objects.using(using).filter(pk=current.pk).update(**values)
    # Nothing shown has changed, but every revision has its entry: the feed is read by number, without holes.
    feed.write(current, revision, [], txids=[], up_to_date=False)
    stream.refresh_from_db(using=using)


def sweep_dropped(using: str) -> bool:
    """Deletes some of what dropped generations still hold, in a transaction of its own; whether there may be more."""
    with commit_transaction(using):
        return sweep(using)
