"""When a stream's server will drop the stream, according to the server. Why: decision 60."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import django.db
from django.conf import settings
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from durable_state.errors import DurableStateError
from durable_state.models import Stream

from .readers import ask_head
from .seat import Seat

__all__ = ["note_expiry"]

logger = logging.getLogger("durable_state.consumer")

LONGEST = 2**62
"""Seconds; anything beyond counts as never, and would fit no column."""


async def note_expiry(stream: Stream, seat: Seat) -> None:
    """Asks the server and records the answer, so that operators are warned before it drops a stream
    that nobody reads.

    Failures are only logged: readers of the stream meet them too.
    """
    try:
        head = await ask_head(seat.client, stream, calls=seat.threads.project_calls)
        ttl = head.ttl if head.ttl is not None and head.ttl <= LONGEST else None
        expires_at = _moment(head.expires_at)
        if (ttl, expires_at) != (stream.ttl_seconds, stream.expires_at):
            await seat.threads.run(_save, stream, ttl, expires_at)
    except (DurableStateError, django.db.Error) as error:
        logger.info("%s: could not find out when it expires: %s", stream, error)


def _save(stream: Stream, ttl: int | None, expires_at: datetime | None) -> None:
    rows = Stream.objects.using(stream.using).filter(pk=stream.pk, url=stream.url)
    rows.update(ttl_seconds=ttl, expires_at=expires_at)
    stream.ttl_seconds, stream.expires_at = ttl, expires_at


def _moment(text: str | None) -> datetime | None:
    """The moment, as the database stores it; None for an invalid one. Spec: RFC 3339."""
    try:
        moment = parse_datetime(text or "")
        if moment is None or timezone.is_naive(moment):
            return None
        moment = moment.astimezone(UTC)  # at the ends of the years 1 and 9999 there is none
        return moment if settings.USE_TZ else timezone.make_naive(moment)
    except (ValueError, OverflowError):
        return None
