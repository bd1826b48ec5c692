"""The one transaction: rows, staged entities, letters, position, counters and feed entry, or nothing of them."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import models, transaction
from django.utils import timezone

from durable_state import feed
from durable_state.conf import get_settings
from durable_state.databases.transaction import commit_transaction
from durable_state.errors import LeaseLost, OperationRefused, RevisionConflict, TooManyDeadLetters
from durable_state.materializer import Fold, Outcome, PreparedBatch, prepare_batch
from durable_state.models import DeadLetter, Generation, Lease, Progress, Status, Stream
from durable_state.protocol import Change, Position, decode
from durable_state.registry import registry
from durable_state.signals import changes_committed
from durable_state.transport import Checkpoint

__all__ = ["Commit", "commit", "lock", "reapply", "release"]

logger = logging.getLogger("durable_state.consumer")

P = TypeVar("P", bound=Progress)


@dataclass(frozen=True, slots=True)
class Commit:
    """What one transaction did. ``payload`` is for the doorbell; ``paused`` says that somebody asked the consumer to stop, ``swept``
    that nothing of a dropped generation is left.
    """

    revision: int
    outcome: Outcome
    payload: bytes
    paused: bool
    swept: bool = True


def lock(progress: P, token: int | None = None) -> P:
    """The row of a stream or a replay, locked for the rest of the transaction, if it is as ``progress`` was read and the lease is ours.

    Raises: RevisionConflict, where somebody else wrote it; LeaseLost, where the fencing token is not the lease's any more.
    """
    using = progress._state.db
    rows = type(progress)._base_manager.using(using)
    current = rows.select_for_update().filter(pk=progress.pk, revision=progress.revision).first()
    if current is None:
        raise RevisionConflict(
            f"{progress}: revision {progress.revision} is not the newest any more."
        )
    if (
        token is not None
        and not Lease.objects.using(using)
        .filter(stream_id=progress.stream_pk, token=token)
        .exists()
    ):
        raise LeaseLost(
            f"{progress}: the lease with fencing token {token} was taken by another worker."
        )
    return current


def commit(
    stream: Stream,
    batch: PreparedBatch,
    position: Position,
    *,
    token: int | None,
    up_to_date: bool,
    closed: bool = False,
    checkpoint: Checkpoint | None = None,
) -> Commit:
    """Materializes the batch that leads from the stream's position to ``position``, exactly once.

    Invariant: the transaction goes through only where the stream still has the revision and the position that ``stream`` was read
    with, and ``token`` is still the lease's. ``stream`` is brought up to date afterwards.
    Raises: RevisionConflict, LeaseLost, StreamHalted; database errors. Nothing is committed then.
    """
    using = stream._state.db or "default"
    with commit_transaction(using):
        current = lock(stream, token)
        check_follows(current, batch, position)
        fold = Fold(
            current,
            generation(current, current.rebuild_id),
            generation(current, current.snapshot_id),
        )
        outcome = fold.apply(batch, up_to_date=up_to_date)
        check_letters(current, fold, outcome)
        values = advanced(current, fold, outcome, position, checkpoint) | standing(
            current, batch.count, up_to_date, closed
        )
        done = conclude(current, fold, outcome, values, up_to_date=up_to_date)
    take_over(stream, current)
    return done


def reapply(stream: Stream, letter: DeadLetter) -> bool:
    """Tries a dead letter's change again, against the shown rows; True where it was accepted, and the letter is gone then.

    Raises: OperationRefused, where the letter was superseded meanwhile, or holds no change.
    """
    using = stream._state.db or "default"
    message = decode(bytes(letter.body))
    if not isinstance(message, Change):
        raise OperationRefused(
            "This is not a whole message of the State Protocol, so trying it again changes nothing.",
            "Discard it.",
        )
    batch = prepare_batch(stream, [message], letter.ordinal - 1)
    with commit_transaction(using):
        stream.refresh_from_db(using=using)
        current = lock(stream)
        if (
            letter.generation
            or not DeadLetter.objects.using(using)
            .filter(pk=letter.pk, ordinal=letter.ordinal)
            .exists()
        ):
            raise OperationRefused(
                "A later change of the entity has superseded this letter.",
                "Look at the newest letters.",
            )
        fold = Fold(current, None, None)
        outcome = fold.apply(batch, up_to_date=False)
        conclude(current, fold, outcome, {}, up_to_date=current.status == Status.LIVE)
    take_over(stream, current)
    return (
        not DeadLetter.objects.using(using).filter(pk=letter.pk).exists()
        and outcome.dead_letters == 0
    )


def release(stream: Stream, token: int | None) -> Commit | None:
    """Shows parked changes that can be shown, without any message; None where none could, and then nothing is committed but that.

    Raises: RevisionConflict, LeaseLost, StreamHalted; database errors.
    """
    using = stream._state.db or "default"
    with commit_transaction(using):
        current = lock(stream, token)
        fold = Fold(current, None, None)
        outcome = fold.release()
        if not outcome.changed_types and not outcome.letters_written:
            return None
        check_letters(current, fold, outcome)
        done = conclude(current, fold, outcome, {}, up_to_date=current.status == Status.LIVE)
    take_over(stream, current)
    return done


def conclude(
    stream: Stream, fold: Fold, outcome: Outcome, values: dict[str, Any], *, up_to_date: bool
) -> Commit:
    """The end of each transaction that changes a stream's rows: its columns, the next revision, the feed entry, the signals."""
    save(stream, values)
    swept = fold.forget_dropped()
    listed = [feed.FeedChange(*entity, deleted) for entity, deleted in outcome.changes.items()]
    changes = None if outcome.too_many else listed
    txids = [feed.FeedTxid(*each) for each in outcome.txids]
    payload = feed.write(stream, stream.revision, changes, txids=txids, up_to_date=up_to_date)
    _send_signals(stream, outcome)
    return Commit(stream.revision, outcome, payload, stream.paused, swept)


def check_follows(progress: Progress, batch: PreparedBatch, position: Position) -> None:
    """Raises: RevisionConflict, where the batch does not lead from where the fold stands to ``position``."""
    if (batch.after, batch.after + batch.count) != (progress.ordinal, position.ordinal):
        raise RevisionConflict(f"{progress}: the batch does not follow ordinal {progress.ordinal}.")


def check_letters(progress: Progress, fold: Fold, outcome: Outcome) -> None:
    """Raises: TooManyDeadLetters."""
    limit = get_settings().dead_letter_limit
    if outcome.letters_written and (count := fold.letter_count()) > limit:
        raise TooManyDeadLetters.after(
            fold.stream.name,
            progress.ordinal,
            count,
            limit,
            fold.last_reason,
            fold.last_detail,
            fold.last_type,
        )


def generation(progress: Progress, pk: int | None) -> Generation | None:
    """From the stream's own database: a relation would be followed wherever the project's routers send reads."""
    return None if pk is None else Generation.objects.using(progress._state.db).get(pk=pk)


def advanced(
    progress: Progress,
    fold: Fold,
    outcome: Outcome,
    position: Position,
    checkpoint: Checkpoint | None = None,
) -> dict[str, Any]:
    """The columns that say how far the fold is now, and what became of the messages."""
    values: dict[str, Any] = {
        "offset": position.offset,
        "skip": position.skip,
        "ordinal": position.ordinal,
    }
    if checkpoint is not None:
        values["checkpoint"] = checkpoint.dump()
    counts = {
        "applied_count": outcome.applied,
        "no_row_count": outcome.no_row,
        "parked_count": outcome.parked,
        "dead_letter_count": outcome.dead_letters,
        "unregistered_count": outcome.unregistered,
        "control_count": outcome.controls,
        "superseded_count": outcome.superseded,
    }
    values |= {name: getattr(progress, name) + count for name, count in counts.items()}
    return values | {"rebuild": fold.state, "snapshot": fold.snapshot}


def standing(progress: Progress, count: int, up_to_date: bool, closed: bool) -> dict[str, Any]:
    """Status, and since when; a commit is also the proof that what failed before works again.

    But not one of no messages that does not reach the tail: a server can send any number of pages
    with nothing on them.
    """
    if progress.status == Status.RETRYING and not (count or up_to_date or closed):
        return {}
    now = timezone.now()
    status = Status.CLOSED if closed else Status.LIVE if up_to_date else Status.CATCHING_UP
    values: dict[str, Any] = {
        "status": status,
        "failures": 0,
        "retry_at": None,
        "action": "",
        "last_error": "",
        "last_error_detail": "",
        "last_error_type": "",
        "last_error_at": None,
    }
    if status != progress.status:
        values["since"] = now
    if up_to_date:
        values["up_to_date_at"] = now
    return values


def save(progress: Progress, values: dict[str, Any]) -> None:
    """The compare-and-set: databases without row locks are held to the invariant by it, the others by the lock already."""
    revision = progress.revision
    values = {"revision": revision + 1, **values}
    rows = (
        type(progress)
        ._base_manager.using(progress._state.db)
        .filter(pk=progress.pk, revision=revision)
    )
    if not rows.update(**values):
        raise RevisionConflict(f"{progress}: revision {revision} is not the newest any more.")
    for name, value in values.items():
        setattr(progress, name, value)


def take_over(progress: P, current: P) -> None:
    """Gives the caller's object what was written, without asking the database again."""
    for field in type(progress)._meta.concrete_fields:
        setattr(progress, field.attname, getattr(current, field.attname))


def _send_signals(stream: Stream, outcome: Outcome) -> None:
    """Once the transaction is committed; inside a larger one (a verb's, a TestCase's) with that one."""
    by_model: dict[type[models.Model], tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    mappings = {each: registry.find(each, stream.name) for each in outcome.changed_types}
    models_changed = {mapping.model for mapping in mappings.values() if mapping is not None}
    for (entity_type, key), deleted in outcome.changes.items():
        if (mapping := mappings[entity_type]) is not None:
            by_model[mapping.model][deleted].append(key)
    name, revision = stream.name, stream.revision

    def send() -> None:
        for model in models_changed:
            upserted, gone = by_model[model]
            responses = changes_committed.send_robust(
                sender=model,
                stream=name,
                revision=revision,
                upserted=None if outcome.too_many else upserted,
                deleted=None if outcome.too_many else gone,
            )
            for receiver, response in responses:
                if isinstance(response, Exception):
                    logger.error(
                        "%s: a receiver of changes_committed failed: %r",
                        name,
                        receiver,
                        exc_info=response,
                    )

    if models_changed:
        transaction.on_commit(send, using=stream._state.db)
