"""The transactions that change a stream's shown rows. Each writes rows, letters, position, counters
and feed entry, or none of them.
"""

from __future__ import annotations

from durable_state.databases.clock import database_now
from durable_state.errors import OperationRefused
from durable_state.materializer import Fold, PreparedBatch, prepare_batch
from durable_state.models import DeadLetter, Status, Stream
from durable_state.protocol import Change, decode
from durable_state.transport import Batch

from .columns import position_columns, status_columns
from .committing import Commit, check_follows, committing
from .optimistic import commit_ordinary

__all__ = ["commit", "reapply", "release"]


def commit(stream: Stream, prepared: PreparedBatch, batch: Batch, *, token: int | None) -> Commit:
    """Materializes the batch that leads from the stream's position to its own, exactly once.

    Invariant: the transaction goes through only if the stream still has the revision and the
    position that ``stream`` was read with, and ``token`` is still the lease's. Afterwards,
    ``stream`` is up to date.
    Raises: RevisionConflict, LeaseLost, StreamHalted; database errors. Nothing is committed then.
    """
    done = commit_ordinary(stream, prepared, batch, token=token)
    return done or _commit_carefully(stream, prepared, batch, token=token)


def _commit_carefully(
    stream: Stream, prepared: PreparedBatch, batch: Batch, *, token: int | None
) -> Commit:
    """Folds a batch that may hold or meet anything."""
    with committing(stream.using, token) as frame:
        work = frame.open(stream)
        check_follows(work.row, prepared, batch.position)

        fold = Fold(work.row, *work.generations())
        fold.apply(prepared, up_to_date=batch.up_to_date)
        work.check_letters(fold)

        now = database_now(frame.using)
        columns = position_columns(work.row, fold, batch.position, now, batch.checkpoint)
        columns |= status_columns(
            work.row,
            now,
            messages=prepared.count,
            up_to_date=batch.up_to_date,
            closed=batch.closed,
        )
        return frame.conclude(work, fold, columns, up_to_date=batch.up_to_date)


def release(stream: Stream, token: int | None) -> Commit | None:
    """Shows the parked changes that can be shown now.

    Returns None if there were none; then only the attempt is committed. Raises: RevisionConflict,
    LeaseLost, StreamHalted; database errors.
    """
    with committing(stream.using, token) as frame:
        work = frame.open(stream)

        fold = Fold(work.row, None, None)
        outcome = fold.release()
        if not outcome.changed_types and not outcome.letters_written:
            return None
        work.check_letters(fold)

        is_live = work.row.status == Status.LIVE
        return frame.conclude(work, fold, {}, up_to_date=is_live)


def reapply(stream: Stream, letter: DeadLetter) -> bool:
    """Tries a dead letter's change again, against the shown rows.

    True if it was accepted, and the letter is gone.
    Raises: OperationRefused, if the letter was superseded in the meantime, or holds no change.
    """
    message = decode(bytes(letter.body))
    if not isinstance(message, Change):
        raise OperationRefused(
            "This message is malformed, so a retry would change nothing.",
            "Discard it.",
        )
    prepared = prepare_batch(stream, [message], letter.ordinal - 1)

    with committing(stream.using, None) as frame:
        stream.refresh_from_db(using=frame.using)
        work = frame.open(stream)
        letters = DeadLetter.objects.using(frame.using).filter(pk=letter.pk)
        if letter.generation or not letters.filter(ordinal=letter.ordinal).exists():
            raise OperationRefused(
                "A later change of the entity has superseded this dead letter.",
                "Look at the newest dead letters.",
            )

        fold = Fold(work.row, None, None)
        outcome = fold.apply(prepared, up_to_date=False)

        is_live = work.row.status == Status.LIVE
        frame.conclude(work, fold, {}, up_to_date=is_live)
    return not letters.exists() and outcome.dead_letters == 0
