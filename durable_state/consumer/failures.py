"""Records, for everybody to see, why a stream makes no progress."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db.models import Exists

from durable_state.databases.clock import database_now
from durable_state.databases.transaction import commit_transaction
from durable_state.errors import DurableStateError, Stalled, StreamNotFound
from durable_state.models import Lease, Progress, Status, Stream
from durable_state.telemetry import ResetReason, count_reset

from .committing import lock
from .error_text import describe_error, full_stop
from .hung_calls import ProjectCallHangs
from .replay import begin_replay, hold_replay

__all__ = ["record_failure", "record_stop", "replay_recreated"]

logger = logging.getLogger("durable_state.consumer")


def record_failure(
    progress: Progress, token: int, error: Exception, failures: int, wait: float
) -> None:
    """Records that the stream, or its replay, has failed so many times in a row and will be tried
    again after ``wait`` seconds; rows stay.
    """
    # Any machine may check whether the wait is over, so the database's clock counts.
    now = database_now(progress.using)
    status = Status.MISSING if isinstance(error, StreamNotFound) else Status.RETRYING
    values = {
        "status": status,
        "failures": failures,
        "retry_at": now + timedelta(seconds=wait),
        **_error(error),
        "last_error_at": now,
        "hangs_in": error.function if isinstance(error, ProjectCallHangs) else "",
        "action": getattr(error, "action", "") or "Retrying automatically.",
    }

    if progress.status != status:
        stalled = error.seconds if isinstance(error, Stalled) else 0.0
        values["since"] = now - timedelta(seconds=stalled)
        logger.warning("%s: %s Trying again.", progress, full_stop(describe_error(error).sentence))

    _save(progress, token, values)


def record_stop(progress: Progress, token: int, error: DurableStateError, status: Status) -> None:
    """Records that the stream, or its replay, stops until somebody acts; rows stay."""
    logger.error(
        "%s: %s: %s %s",
        progress,
        status.label,
        describe_error(error).sentence,
        error.action,
        extra={"is_outcome": isinstance(progress, Stream)},
    )
    if status == Status.NEEDS_RESET:
        count_reset(ResetReason.GONE)
    _save(progress, token, _stopped(progress.using, error, status))


def replay_recreated(stream: Stream, token: int, error: DurableStateError) -> None:
    """Starts a replay beside the old rows, because the URL now serves another stream.

    Nothing can be read at the old position any more. Raises: RevisionConflict, LeaseLost.
    """
    logger.warning(
        "%s: %s Replaying it from its start; the old rows stay visible until then.",
        stream,
        error.message,
    )
    with commit_transaction(stream.using):
        hold_replay(stream)
        begin_replay(lock(stream, token))
        _save(stream, token, _stopped(stream.using, error, Status.NEEDS_RESET))
    count_reset(ResetReason.RECREATED)


def _stopped(using: str, error: DurableStateError, status: Status) -> dict[str, object]:
    now = database_now(using)
    return {
        "status": status,
        "since": now,
        "retry_at": None,
        **_error(error),
        "last_error_at": now,
        "hangs_in": "",
        "action": error.action,
    }


def _error(error: Exception) -> dict[str, object]:
    text = describe_error(error)
    return {
        "last_error": text.sentence,
        "last_error_detail": text.detail,
        "last_error_type": text.entity_type,
    }


def _save(progress: Progress, token: int, values: dict[str, object]) -> None:
    """Only if the row is unchanged since it was read and the lease is still ours: changes by an
    operator, or by our successor, win.
    """
    using = progress.using
    ours = Exists(Lease.objects.using(using).filter(stream_id=progress.stream_pk, token=token))
    rows = type(progress)._base_manager.using(using)
    as_read: dict[str, object] = {"pk": progress.pk, "revision": progress.revision}
    if isinstance(progress, Stream):  # what another URL has said does not concern the new one
        as_read |= {"url": progress.url, "live": progress.live}

    rows.filter(ours, **as_read).update(**values)
    for name, value in values.items():
        setattr(progress, name, value)
