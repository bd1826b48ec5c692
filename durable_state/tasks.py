"""The Celery tasks: ``supervise``, in beat every few seconds, keeps the seats filled with
``consume`` tasks.

Why: decision 47.
"""

from __future__ import annotations

import logging
import sys
import time
from contextlib import suppress
from typing import Any

from celery import shared_task
from celery.signals import worker_init, worker_ready, worker_shutting_down
from celery.worker import state
from django.db import DEFAULT_DB_ALIAS
from kombu.exceptions import OperationalError

from durable_state.databases.clock import database_now

from . import operations
from .conf import get_settings
from .consumer import (
    CELERY,
    EndingFlag,
    announce_missing,
    check_threads,
    consume_slice,
    runnable,
    tidy,
)
from .errors import DurableStateError, OperationRefused

__all__ = ["consume", "supervise", "verify"]

logger = logging.getLogger("durable_state.tasks")

SUPERVISE_SECONDS = 1.0
"""Seconds for which one check by this process is enough."""
TIDY_SECONDS = 60.0
"""Seconds between two prunings of this process."""
ALONE_SECONDS = 3600
"""Seconds that a task continues after its slice while the broker takes no task for a successor."""
LIMIT_SECONDS = 300
"""Seconds that it may take beyond all that, for its current batch, before it is killed."""
AGAIN_SECONDS = (10.0, 60.0)
"""Seconds until it tries again to send one, at first and at most; each wait is twice the one
before, because all streams are opened anew.
"""

_supervised: dict[str, float] = {}
_tidied: dict[str, float] = {}

_ending = EndingFlag()
"""Raised once the worker is asked to end, which Celery does not tell its children."""


@worker_init.connect
def _share(sender: Any = None, **kwargs: Any) -> None:
    is_told_to_fork = getattr(sender, "pool_start_method", "fork") == "fork"
    _ending.share(forks=is_told_to_fork and sys.platform != "darwin")


@worker_shutting_down.connect
def _end(**kwargs: Any) -> None:
    _ending.set()


def _asks_to_end() -> bool:
    """Whether the worker waits for this task."""
    return _ending.is_set() or any(
        asked not in (None, False) for asked in (state.should_stop, state.should_terminate)
    )


@worker_ready.connect
def _check_pool(**kwargs: Any) -> None:
    """Logs at the worker's start what each of its tasks would otherwise say."""
    try:
        check_threads()
    except OperationRefused as refusal:
        logger.error("%s", refusal)


def _refuse(database: str, refusal: OperationRefused) -> None:
    """Says why nothing is consumed: in the log, and in each stream that nobody else consumes."""
    logger.error("%s", refusal)
    runnable(database).order_by().update(
        last_error=refusal.message, action=refusal.action, last_error_at=database_now(database)
    )


@shared_task(name="durable_state.tasks.supervise", ignore_result=True)
def supervise(database: str = DEFAULT_DB_ALIAS) -> int:
    """Sends a ``consume`` task for each seat that the streams need and nobody fills; returns how
    many it sent.

    Cheap and idempotent: put it in beat every few seconds. A seat is reserved for each task that is
    sent; if the task is lost, another is sent after ``LEASE_SECONDS``. However many of these have
    piled up while no worker ran, a process checks once a second.
    """
    if not _is_time(_supervised, database, SUPERVISE_SECONDS):
        return 0
    if _is_time(_tidied, database, TIDY_SECONDS):
        tidy(database)
    if operations.is_verification_asked(database):
        # Otherwise they would pile up while no worker runs.
        expires = get_settings().lease_seconds
        verify.apply_async(args=(database,), expires=expires, **_routing())
    return _fill(database)


@shared_task(name="durable_state.tasks.consume", ignore_result=True, acks_late=False)
def consume(database: str = DEFAULT_DB_ALIAS) -> None:
    """Fills a seat for ``SLICE_SECONDS`` and hands over to a new task, so that no task outlives the
    broker's visibility timeout.

    A task that arrives twice, or late, ends at once if no seat is free.
    """
    until = time.monotonic() + get_settings().slice_seconds + ALONE_SECONDS
    seconds = None
    while True:
        try:
            is_kept = consume_slice(database, _asks_to_end, seconds)
        except OperationRefused as refusal:
            _refuse(database, refusal)
            return
        # CELERY_TASK_ALWAYS_EAGER would hand over inside itself, for ever.
        if consume.request.is_eager:
            return
        try:
            if is_kept:
                _send(database)
            else:
                _fill(database)
            return
        except OperationalError as error:
            # Even if a long batch has cost the seat: nobody else can be sent for its streams.
            if _asks_to_end() or time.monotonic() > until:
                raise
            first, most = AGAIN_SECONDS
            if seconds is None:  # once for each outage
                logger.warning("The broker is unavailable, so this task continues: %s", error)
            seconds = first if seconds is None else min(2 * seconds, most)


@shared_task(name="durable_state.tasks.verify", ignore_result=True, acks_late=False)
def verify(database: str = DEFAULT_DB_ALIAS) -> None:
    """Carries out one requested verification, if nobody else has taken it.

    Its result is kept; a failure is a result too.
    """
    if (run := operations.take_verification(database)) is not None:
        with suppress(DurableStateError):
            operations.carry_out(run, ends=_asks_to_end)


def _fill(database: str) -> int:
    """Sends a task for each seat that is missing."""
    missing = announce_missing(database, CELERY)
    for _ in range(missing):
        _send(database)
    return missing


def _send(database: str) -> None:
    # Separate limits, because the project's may be shorter than the slice.
    limit = int(get_settings().slice_seconds) + ALONE_SECONDS + LIMIT_SECONDS
    consume.apply_async(
        args=(database,),
        soft_time_limit=limit,
        time_limit=limit + LIMIT_SECONDS,
        **_routing(),
    )


def _routing() -> dict[str, Any]:
    queue = get_settings().queue
    return {"queue": queue} if queue else {}


def _is_time(done: dict[str, float], database: str, seconds: float) -> bool:
    """Whether so many seconds have passed since it was last done; it then counts as done now."""
    now = time.monotonic()
    if now - done.get(database, -seconds) < seconds:
        return False
    done[database] = now
    return True
