"""Folding a stream again from its start, beside the rows that are shown and beside the reader that keeps them up to date."""

from __future__ import annotations

from django.db.models import QuerySet

from durable_state import feed
from durable_state.databases.transaction import commit_transaction
from durable_state.materializer import Fold, PreparedBatch, drop, sweep
from durable_state.models import DeadLetter, Generation, Progress, Replay, Status, Stream
from durable_state.protocol import Position
from durable_state.transport import Checkpoint

from .commit import (
    Commit,
    advanced,
    check_follows,
    check_letters,
    conclude,
    generation,
    lock,
    save,
    standing,
    take_over,
)

__all__ = [
    "abandon_replay",
    "advance",
    "begin_again",
    "begin_replay",
    "hand_over",
    "hold_replay",
    "replayable",
    "sweep_dropped",
]

TXIDS = 1000
"""Transaction ids that a replay remembers, the newest, for the feed entry of the hand-over."""
_COUNTERS = [field.name for field in Progress._meta.fields if field.name.endswith("_count")]


def replayable(using: str | None) -> QuerySet[Replay]:
    """The replays that can go on, some of them after a wait; what else keeps their streams from being consumed is not looked at."""
    return Replay.objects.using(using).exclude(status__in=(Status.HALTED, Status.NEEDS_RESET))


def hold_replay(stream: Stream) -> Replay | None:
    """Locks the row of the stream's replay, if there is one, for the rest of the transaction.

    Whoever needs both rows locks this one first: ``advance`` holds it while it writes letters, for which the database locks the
    stream's row, so the other order would be a deadlock.
    """
    replays = Replay.objects.using(stream._state.db)
    # By primary key, as everybody: MySQL would lock the other index's entry first, which who deletes the row needs last.
    pk = replays.filter(stream=stream.pk).values_list("pk", flat=True).first()
    return None if pk is None else replays.select_for_update().filter(pk=pk).first()


def begin_replay(stream: Stream) -> Replay:
    """Opens a replay of the stream; one that was open is dropped. Call it in a transaction that holds its row, then the stream's.

    Rows, position and counters of the stream stay as they are until the replay has caught up and is handed over.
    """
    using = stream._state.db
    abandon_replay(stream)
    rebuild = Generation.objects.using(using).create(
        stream=stream, purpose=Generation.Purpose.REPLAY
    )
    return Replay.objects.using(using).create(
        stream=stream, rebuild=rebuild, status=Status.CATCHING_UP
    )


def begin_again(replay: Replay, token: int | None) -> None:
    """Opens another replay in place of this one. Raises: RevisionConflict, LeaseLost."""
    using = replay._state.db or "default"
    with commit_transaction(using):
        lock(replay, token)
        begin_replay(Stream.objects.using(using).select_for_update().get(pk=replay.stream_id))


def abandon_replay(stream: Stream) -> bool:
    """Drops the stream's replay and all that is staged of it; False where it has none."""
    using = stream._state.db
    if (replay := hold_replay(stream)) is None:
        return False
    generations = [generation(replay, pk) for pk in (replay.rebuild_id, replay.snapshot_id)]
    replay.delete(using=using)
    met = [DeadLetter.REPLAYED, *(each.pk for each in generations if each is not None)]
    DeadLetter.objects.using(using).filter(stream=stream, generation__in=met).delete()
    for each in filter(None, generations):
        drop(each)
    return True


def advance(
    replay: Replay,
    stream: Stream,
    batch: PreparedBatch,
    position: Position,
    *,
    token: int | None,
    checkpoint: Checkpoint | None = None,
) -> Commit:
    """Stages the batch that leads from the replay's position to ``position``, exactly once; nothing shown changes.

    Invariant: as that of ``commit``, for the replay's row, which is brought up to date.
    Raises: RevisionConflict, LeaseLost, StreamHalted; database errors. Nothing is committed then.
    """
    using = replay._state.db or "default"
    with commit_transaction(using):
        current = lock(replay, token)
        check_follows(current, batch, position)
        rebuild, snapshot = (
            generation(current, current.rebuild_id),
            generation(current, current.snapshot_id),
        )
        fold = Fold(stream, rebuild, snapshot, current)
        outcome = fold.apply(batch, up_to_date=False)
        check_letters(current, fold, outcome)
        values = advanced(current, fold, outcome, position, checkpoint) | standing(
            current, batch.count, False, False
        )
        values |= {
            "unregistered": current.unregistered,
            "samples": current.samples,
            "txids": feed.encode_txids([*_txids(current), *outcome.txids][-TXIDS:]),
        }
        save(current, values)
        paused = Stream.objects.using(using).filter(pk=stream.pk, paused=True).exists()
        done = Commit(current.revision, outcome, b"", paused, fold.forget_dropped())
    take_over(replay, current)
    return done


def hand_over(
    stream: Stream, replay: Replay, seen: int, *, token: int | None, closed: bool = False
) -> Commit | None:
    """The stream goes on from where its replay is, and shows what the replay holds: one transaction, and the replay is gone.

    Invariant: the rows never go back. The replay stands at the stream's tail as it was, or later, when the stream's ``revision`` was
    ``seen``: so it is as far as the stream where that has not moved since, or where it has read no more messages than the replay. None
    otherwise; read on then, and try again. ``stream`` is brought up to date.
    Raises: as ``commit``.
    """
    using = stream._state.db or "default"
    with commit_transaction(using):
        stream.refresh_from_db(using=using)
        made = lock(replay, token)
        current = lock(stream, token)
        if current.revision != seen and current.ordinal > made.ordinal:
            return None
        own = [generation(current, pk) for pk in (current.rebuild_id, current.snapshot_id)]
        rebuild, snapshot = generation(made, made.rebuild_id), generation(made, made.snapshot_id)
        for name in _COUNTERS:
            setattr(current, name, getattr(made, name))
        # The stream's own generations are dropped with what the fold drops, and may be pointed to no more by then.
        Stream.objects.using(using).filter(pk=current.pk).update(rebuild=rebuild, snapshot=snapshot)
        made.delete(using=using)
        fold = Fold(current, rebuild, snapshot)
        fold.take_over(made, [each for each in own if each is not None])
        outcome = fold.apply(PreparedBatch(made.ordinal, 0), up_to_date=True)
        outcome.txids |= dict.fromkeys(_txids(made))
        check_letters(current, fold, outcome)
        values = advanced(current, fold, outcome, made.position) | standing(
            current, 0, True, closed
        )
        values |= {"checkpoint": made.checkpoint, "reread_at": made.reread_at}
        done = conclude(current, fold, outcome, values, up_to_date=True)
    take_over(stream, current)
    return done


def _txids(replay: Replay) -> list[feed.FeedTxid]:
    return feed.decode_txids(bytes(replay.txids))


def sweep_dropped(using: str) -> bool:
    """Deletes some of what dropped generations still hold, in a transaction of its own; whether there may be more."""
    with commit_transaction(using):
        return sweep(using)
