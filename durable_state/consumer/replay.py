"""Folds a stream again from its start, beside the shown rows and the reader that keeps them up to
date.

Why: decisions 5 and 25.
"""

from __future__ import annotations

from django.db.models import QuerySet

from durable_state import feed
from durable_state.databases.clock import database_now
from durable_state.databases.transaction import commit_transaction
from durable_state.materializer import Fold, PreparedBatch, drop_generation, prepare_batch
from durable_state.models import DISPOSITIONS, DeadLetter, Generation, Replay, Status, Stream
from durable_state.transport import Batch

from .columns import position_columns, status_columns
from .committing import Commit, Work, check_follows, committing, lock

__all__ = [
    "abandon_replay",
    "advance",
    "begin_again",
    "begin_replay",
    "hand_over",
    "hold_replay",
    "replayable",
]

TXIDS = 1000
"""Number of transaction ids, the newest, that a replay remembers for the feed entry of the
hand-over.
"""


def replayable(using: str | None) -> QuerySet[Replay]:
    """The replays that can continue, some of them after a wait.

    Other reasons not to consume their streams are not considered.
    """
    return Replay.objects.using(using).exclude(status__in=(Status.HALTED, Status.NEEDS_RESET))


def hold_replay(stream: Stream) -> Replay | None:
    """Locks the row of the stream's replay, if there is one, for the rest of the transaction.

    Whoever needs both rows locks this one first: ``advance`` holds it while it writes letters, for
    which the database locks the stream's row, so the other order would be a deadlock.
    """
    replays = Replay.objects.using(stream.using)
    # By primary key, as everywhere: MySQL would first lock the entry of the other index, which
    # whoever deletes the row needs last.
    pk = replays.filter(stream=stream.pk).values_list("pk", flat=True).first()
    return None if pk is None else replays.select_for_update().filter(pk=pk).first()


def begin_replay(stream: Stream, entity_type: str = "") -> Replay:
    """Opens a replay of the stream, or of one type of it, in place of an older one.

    The stream's rows, position and counters stay as they are until the replay has caught up and is
    handed over. Call it in a transaction that holds the replay's row, then the stream's.
    """
    using = stream.using
    abandon_replay(stream)
    now = database_now(using)
    rebuild = Generation.objects.using(using).create(
        stream=stream, purpose=Generation.Purpose.REBUILD, created_at=now
    )
    return Replay.objects.using(using).create(
        stream=stream,
        rebuild=rebuild,
        status=Status.CATCHING_UP,
        since=now,
        entity_type=entity_type,
        created_at=now,
    )


def begin_again(replay: Replay, token: int | None) -> None:
    """Opens another replay in place of this one. Raises: RevisionConflict, LeaseLost."""
    using = replay.using
    with commit_transaction(using):
        lock(replay, token)
        begin_replay(Stream.objects.using(using).select_for_update().get(pk=replay.stream_id))


def abandon_replay(stream: Stream) -> bool:
    """Drops the stream's replay and everything staged for it; False if there is none."""
    using = stream.using
    if (replay := hold_replay(stream)) is None:
        return False
    generations = [each for each in Work(replay).generations() if each is not None]
    replay.delete(using=using)

    met = [DeadLetter.REPLAYED, *(each.pk for each in generations)]
    DeadLetter.objects.using(using).filter(stream=stream, generation__in=met).delete()
    for each in generations:
        drop_generation(each)
    return True


def advance(
    replay: Replay, stream: Stream, prepared: PreparedBatch, batch: Batch, *, token: int | None
) -> Commit:
    """Stages the batch that leads from the replay's position to its own, exactly once.

    Nothing that is shown changes. Invariant: as in ``commit``, for the replay's row, which is
    brought up to date. Raises: RevisionConflict, LeaseLost, StreamHalted; database errors. Nothing
    is committed then.
    """
    with committing(replay.using, token) as frame:
        work = frame.open(replay)
        check_follows(work.row, prepared, batch.position)

        fold = Fold(stream, *work.generations(), work.row)
        outcome = fold.apply(prepared, up_to_date=False)
        work.check_letters(fold)

        now = database_now(frame.using)
        columns = position_columns(work.row, fold, batch.position, now, batch.checkpoint)
        columns |= status_columns(
            work.row, now, messages=prepared.count, up_to_date=False, closed=False
        )
        columns |= {
            "unregistered": work.row.unregistered,
            "samples": work.row.samples,
            "txids": feed.encode_txids([*_txids(work.row), *outcome.txids][-TXIDS:]),
        }
        work.save(columns)
        swept = fold.forget_dropped()
        paused = Stream.objects.using(frame.using).filter(pk=stream.pk, paused=True).exists()
        return Commit(work.row.revision, outcome, b"", paused, swept)


def hand_over(
    stream: Stream, replay: Replay, seen: int, *, token: int | None, closed: bool = False
) -> Commit | None:
    """Continues the stream from the replay's position, and shows what the replay holds.

    In one transaction, which also deletes the replay; ``stream`` is brought up to date.

    Invariant: the rows never go back. The replay has reached the tail that the stream had when its
    ``revision`` was ``seen``, or a later one. So it has caught up if the stream has not moved
    since, or has read no more messages than the replay. Otherwise returns None; read on, and try
    again. Raises: as ``commit``.
    """
    with committing(replay.using, token) as frame:
        stream.refresh_from_db(using=frame.using)
        made = frame.open(replay)
        work = frame.open(stream)
        if work.row.revision != seen and work.row.ordinal > made.row.ordinal:
            return None

        # The replay's counters and generations become the stream's. The fold drops the stream's
        # own, so nothing may refer to them by then.
        own = [each for each in work.generations() if each is not None]
        rebuild, snapshot = made.generations()
        for counter in DISPOSITIONS.values():
            setattr(work.row, counter, getattr(made.row, counter))
        row = Stream.objects.using(frame.using).filter(pk=stream.pk)
        row.update(rebuild=rebuild, snapshot=snapshot)
        made.row.delete(using=frame.using)

        fold = Fold(work.row, rebuild, snapshot)
        fold.take_over(made.row, own)
        outcome = fold.apply(prepare_batch(stream, [], made.row.ordinal), up_to_date=True)
        outcome.txids |= dict.fromkeys(_txids(made.row))
        work.check_letters(fold)

        now = database_now(frame.using)
        columns = position_columns(work.row, fold, made.row.position, now)
        columns |= status_columns(work.row, now, messages=0, up_to_date=True, closed=closed)
        columns |= {"checkpoint": made.row.checkpoint, "reread_at": made.row.reread_at}
        return frame.conclude(work, fold, columns, up_to_date=True)


def _txids(replay: Replay) -> list[feed.FeedTxid]:
    return feed.decode_txids(bytes(replay.txids))
