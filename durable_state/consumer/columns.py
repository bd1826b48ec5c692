"""The columns of a stream, or of a replay, that a commit writes.

``now`` is by the database's clock.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from durable_state.materializer import Fold, Outcome
from durable_state.models import DISPOSITIONS, FAILING, Progress, Status
from durable_state.protocol import Position
from durable_state.transport import Checkpoint

__all__ = ["count_columns", "position_columns", "status_columns"]

SMOOTHED = 5.0
"""Seconds over which the rate is smoothed."""


def position_columns(
    progress: Progress,
    fold: Fold,
    position: Position,
    now: datetime,
    checkpoint: Checkpoint | None = None,
) -> dict[str, Any]:
    """The columns that say how far the fold has come, and what it has open."""
    columns = count_columns(progress, fold.outcome, position, now, checkpoint)
    return columns | {"rebuild": fold.rebuild, "snapshot": fold.snapshot}


def count_columns(
    progress: Progress,
    outcome: Outcome,
    position: Position,
    now: datetime,
    checkpoint: Checkpoint | None = None,
) -> dict[str, Any]:
    """The columns for the position, and for what became of the messages."""
    columns: dict[str, Any] = {
        "offset": position.offset,
        "skip": position.skip,
        "ordinal": position.ordinal,
    }
    for disposition, counter in DISPOSITIONS.items():
        columns[counter] = getattr(progress, counter) + getattr(outcome, disposition)
    if messages := position.ordinal - progress.ordinal:
        columns |= _pace_columns(progress, messages, now)
    if checkpoint is not None:
        columns["checkpoint"] = checkpoint.dump()
    return columns


def status_columns(
    progress: Progress, now: datetime, *, messages: int, up_to_date: bool, closed: bool
) -> dict[str, Any]:
    """The status, and when it began; a commit also proves that what failed before works again.

    Except for a commit of no messages that does not reach the tail: a server can send any number of
    empty pages.
    """
    if progress.status in FAILING and not (messages or up_to_date or closed):
        return {}

    status = Status.CLOSED if closed else Status.LIVE if up_to_date else Status.CATCHING_UP
    columns: dict[str, Any] = {
        "status": status,
        "failures": 0,
        "retry_at": None,
        "action": "",
        "last_error": "",
        "last_error_detail": "",
        "last_error_type": "",
        "last_error_at": None,
        "hangs_in": "",
    }
    if status != progress.status:
        columns["since"] = now
    if up_to_date:
        columns["up_to_date_at"] = now
    return columns


def _pace_columns(progress: Progress, messages: int, now: datetime) -> dict[str, Any]:
    """How fast messages are read: each of the last seconds counts less than the one after it."""
    if progress.moved_at is None:
        return {"rate": messages / SMOOTHED, "moved_at": now}
    seconds = max((now - progress.moved_at).total_seconds(), 0.001)
    kept = math.exp(-seconds / SMOOTHED)
    return {"rate": kept * progress.rate + (1 - kept) * messages / seconds, "moved_at": now}
