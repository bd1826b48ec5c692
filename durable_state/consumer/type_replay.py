"""Ends a replay of one type: its rows are shown, and the stream stays where it is. Why: decision
51.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from durable_state.errors import RevisionConflict, StreamHalted
from durable_state.materializer import Fold, Outcome, prepare_batch
from durable_state.models import DISPOSITIONS, Replay, Status, Stream, TypeState, entity_digest
from durable_state.protocol import Message
from durable_state.transport import Batch, Checkpoint

from .committing import Commit, committing

__all__ = ["hand_over_type", "may_reach"]

_FOLDED = [each for each in DISPOSITIONS if each not in ("unregistered", "control")]
"""The dispositions that a folded message of one type can have."""


def may_reach(stream: Stream, batch: Batch) -> bool:
    """Whether a replay that takes the batch would reach the stream's position, or pass it."""
    if batch.up_to_date or batch.closed:
        return True
    ordinals = Stream.objects.using(stream.using).filter(pk=stream.pk).values_list("ordinal")
    found = ordinals.first()
    return found is not None and batch.position.ordinal >= found[0]


def hand_over_type(
    stream: Stream, replay: Replay, batch: Batch, seen: int, *, token: int | None
) -> Commit | None:
    """Shows what the replay, and the batch that follows it, hold of the replay's type.

    In one transaction, which also deletes the replay; ``stream`` is brought up to date. Other types
    are not touched.

    Invariant: the type's rows reach exactly the stream's own position. So of the batch only the
    messages up to there are folded, as the fingerprint of all messages tells; or the whole batch,
    if it ends at the tail and the stream has not moved since its ``revision`` was ``seen``. If
    neither is the case, returns None; read on then. Raises: as ``commit``; RevisionConflict also
    while the stream has anything staged.
    """
    with committing(replay.using, token) as frame:
        stream.refresh_from_db(using=frame.using)
        made, work = frame.open(replay), frame.open(stream)
        messages = _up_to(work.row, made.row, batch, seen)
        if messages is None:
            return None
        if work.row.rebuild_id is not None or work.row.snapshot_id is not None:
            raise RevisionConflict(f"{replay} waits for what the stream itself has staged.")

        # The rest is staged too, and the replay is gone.
        rest = Fold(stream, *made.generations(), made.row)
        rest.apply(prepare_batch(stream, messages, made.row.ordinal), up_to_date=False)
        if rest.rebuild is None or rest.snapshot is not None:
            raise RevisionConflict(f"{replay} is inside a snapshot.")
        made.row.delete(using=frame.using)
        swept = rest.forget_dropped()

        # The shown rows change, but not the position.
        passed_over = _passed_over(work.row, made.row.entity_type)
        fold = Fold(work.row, None, None)
        if not fold.show_type(rest.rebuild, made.row.entity_type):
            raise _mapped_otherwise(stream, made.row.entity_type)
        work.check_letters(fold)
        columns = _counters(work.row, made.row, [rest.outcome, fold.outcome], passed_over)

        is_live = work.row.status == Status.LIVE
        done = frame.conclude(work, fold, columns, up_to_date=is_live)
        return replace(done, swept=done.swept and swept)


def _up_to(row: Stream, replay: Replay, batch: Batch, seen: int) -> Sequence[Message] | None:
    """The batch's messages that lead from the replay to the stream's position."""
    count = row.ordinal - replay.ordinal
    if 0 <= count <= len(batch.messages):
        messages = batch.messages[:count]
        reached, begun = Checkpoint.load(row.checkpoint), Checkpoint.load(replay.checkpoint)
        if row.ordinal == 0 or (reached is not None and reached.follows(begun, messages)):
            return messages
    # A server that has dropped the beginning gives other messages than were counted.
    is_at_tail = batch.up_to_date or batch.closed
    return batch.messages if is_at_tail and row.revision == seen else None


def _passed_over(stream: Stream, entity_type: str) -> int:
    """How many messages of the type were counted as unregistered."""
    states = TypeState.objects.using(stream.using).filter(
        stream=stream, digest=entity_digest(entity_type, "")
    )
    return states.values_list("unregistered", flat=True).first() or 0


def _counters(
    row: Stream, replay: Replay, outcomes: Sequence[Outcome], passed_over: int
) -> dict[str, Any]:
    """The counters that change: what became of the messages that were passed over before.

    If only some of the type's messages were passed over, the others keep their first dispositions.
    """
    became = {
        each: getattr(replay, DISPOSITIONS[each]) + sum(getattr(one, each) for one in outcomes)
        for each in _FOLDED
    }
    if sum(became.values()) != passed_over:
        states = TypeState.objects.using(row.using).filter(
            stream=row, digest=entity_digest(replay.entity_type, "")
        )
        states.update(unregistered=passed_over)
        return {}

    columns = {
        DISPOSITIONS[each]: getattr(row, DISPOSITIONS[each]) + count
        for each, count in became.items()
    }
    return columns | {"unregistered_count": row.unregistered_count - passed_over}


def _mapped_otherwise(stream: Stream, entity_type: str) -> StreamHalted:
    return StreamHalted(
        f"{stream.name}: the mapping of the type {entity_type} has changed since its reset began.",
        f"Start again: manage.py durable_state reset {stream.name} --type {entity_type}",
    )
