"""The bell: tells other processes that a stream has a new entry.

Losing one costs time, never truth. Why: decision 8.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time

from channels.layers import get_channel_layer
from django.db import router

from durable_state.models import Stream

__all__ = ["BELL", "group_name", "ring", "written_database"]

logger = logging.getLogger("durable_state.feed")

BELL = "durable_state.bell"
RING_SECONDS = 2.0
"""Seconds that ringing may take; a channel layer that hangs must not hold up the next commit."""
SILENCE_SECONDS = 5.0
"""Seconds without ringing after it failed."""

_silent_until = 0.0
_fails_since: float | None = None
"""When the first bell was not heard; the log says so once for all that follow."""


def group_name(stream_name: str, stream_pk: int, using: str) -> str:
    """The channel layer's group of a stream: at most 99 of the characters that Channels allows."""
    return f"durable_state.{re.sub(r'[^A-Za-z0-9._-]', '-', using)[:20]}.{stream_pk}.{stream_name}"[
        :99
    ]


def written_database(stream: Stream) -> str:
    """Where the stream's commits are made, also of one that a router had read from a replica."""
    return router.db_for_write(Stream, instance=stream)


async def ring(
    stream_name: str,
    stream_pk: int,
    revision: int,
    using: str,
    payload: bytes,
    *,
    closed: bool = False,
) -> None:
    """Rings the bell of one commit, after it. ``closed``: the stream has ended with it.

    Never raises: a broken channel layer is logged, once until it answers again, and subscribers
    read the log instead.
    """
    global _silent_until, _fails_since
    try:
        layer = get_channel_layer()
        if layer is None or time.monotonic() < _silent_until:
            return
        async with asyncio.timeout(RING_SECONDS):
            group = group_name(stream_name, stream_pk, using)
            bell = {
                "type": BELL,
                "group": group,
                "revision": revision,
                "entry": payload.decode(),
                "closed": closed,
            }
            await layer.group_send(group, bell)
    except Exception as error:
        _silent_until = time.monotonic() + SILENCE_SECONDS
        if _fails_since is None:
            _fails_since = time.monotonic()
            logger.warning(
                "%s: the channel layer did not accept the bell for revision %s: %r",
                stream_name,
                revision,
                error,
            )
    else:
        if _fails_since is not None:
            away, _fails_since = time.monotonic() - _fails_since, None
            logger.warning("The channel layer answers again after %.0f s.", away)
