"""The Celery tasks: ``supervise`` in beat, every few seconds, starts ``consume`` tasks as needed.

Why: decision 17.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import timedelta
from typing import Any

from celery import shared_task
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Q
from django.utils import timezone

from . import operations
from .conf import get_settings
from .consumer import consume_slice, runnable, tidy
from .errors import DurableStateError
from .models import Stream

__all__ = ["consume", "supervise", "verify"]

logger = logging.getLogger("durable_state.tasks")


@shared_task(name="durable_state.tasks.supervise", ignore_result=True)
def supervise(database: str = DEFAULT_DB_ALIAS) -> int:
    """Sends ``consume`` tasks for the streams that want a consumer and have none;
    returns how many streams it sent.

    Cheap and idempotent: put it in beat every few seconds. A task that was sent and lost is sent
    again after ``LEASE_SECONDS``.
    """
    tidy(database)
    if operations.is_verification_asked(database):
        verify.apply_async(args=(database,), **_options())
    return _dispatch(database, None)


@shared_task(name="durable_state.tasks.consume", ignore_result=True, acks_late=False)
def consume(stream_ids: list[int], database: str = DEFAULT_DB_ALIAS) -> None:
    """Tails the streams for ``SLICE_SECONDS`` and hands over to a new task,
    so that no task outlives the broker's patience.

    Delivered twice, it does nothing the second time: the leases are taken.
    """
    consume_slice(stream_ids, database)
    # CELERY_TASK_ALWAYS_EAGER would hand over inside itself, for ever.
    if not consume.request.is_eager:
        _dispatch(database, stream_ids)


@shared_task(name="durable_state.tasks.verify", ignore_result=True, acks_late=False)
def verify(database: str = DEFAULT_DB_ALIAS) -> None:
    """Carries out one verification that was asked for, if nobody else has taken it.

    Its result is kept; a failure is a result too.
    """
    if (run := operations.take_verification(database)) is not None:
        with suppress(DurableStateError):
            operations.carry_out(run)


def _options() -> dict[str, Any]:
    """A task that no worker takes in time is sent again by then; without the expiry they would pile
    up while no worker runs.
    """
    settings = get_settings()
    queue = {"queue": settings.queue} if settings.queue else {}
    return {"expires": settings.lease_seconds, **queue}


def _dispatch(database: str, stream_ids: list[int] | None) -> int:
    """Sends the runnable streams, or those of ``stream_ids``, in groups of ``SLICE_STREAMS``."""
    settings = get_settings()
    streams = runnable(database)
    if stream_ids is not None:
        streams = streams.filter(pk__in=stream_ids)
    else:
        sent_lately = timezone.now() - timedelta(seconds=settings.lease_seconds)
        streams = streams.filter(Q(dispatched_at=None) | Q(dispatched_at__lt=sent_lately))
    pks = list(streams.values_list("pk", flat=True))

    for start in range(0, len(pks), settings.slice_streams):
        group = pks[start : start + settings.slice_streams]
        Stream.objects.using(database).filter(pk__in=group).update(dispatched_at=timezone.now())
        consume.apply_async(args=(group, database), **_options())
    return len(pks)
