"""The Celery tasks: ``supervise`` in beat, every few seconds, starts ``consume`` tasks as needed.

Why: decision 17.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from celery import shared_task
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Q
from django.utils import timezone

from .conf import get_settings
from .consumer import consume_slice, runnable, tidy
from .models import Stream

__all__ = ["consume", "supervise"]

logger = logging.getLogger("durable_state.tasks")


@shared_task(name="durable_state.tasks.supervise", ignore_result=True)
def supervise(database: str = DEFAULT_DB_ALIAS) -> int:
    """Sends ``consume`` tasks for the streams that want a consumer and have none;
    returns how many streams it sent.

    Cheap and idempotent: put it in beat every few seconds. A task that was sent and lost is sent
    again after ``LEASE_SECONDS``.
    """
    tidy(database)
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

    # A task that no worker takes in time is sent again by then; without the expiry they would pile
    # up while no worker runs.
    options: dict[str, Any] = {"expires": settings.lease_seconds}
    if settings.queue:
        options["queue"] = settings.queue

    for start in range(0, len(pks), settings.slice_streams):
        group = pks[start : start + settings.slice_streams]
        Stream.objects.using(database).filter(pk__in=group).update(dispatched_at=timezone.now())
        consume.apply_async(args=(group, database), **options)
    return len(pks)
