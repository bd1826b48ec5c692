"""Wake streams in the database: who listens to which, and what was heard. Why: decision 62."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Exists, OuterRef, Q, QuerySet

from durable_state.conf import get_settings
from durable_state.databases.clock import ServerNow
from durable_state.databases.transaction import commit_transaction
from durable_state.models import Doorbell, Stream, WakeStream
from durable_state.protocol import Position

from .doorbells import after, ring

__all__ = ["has_wake_streams", "hear", "listen", "note_deafness", "stop_listening", "told_by"]


def has_wake_streams(using: str) -> bool:
    """Whether somebody has to listen, however few streams want a reader now."""
    return _wanted(using).exists()


def listen(using: str, holder: str) -> list[WakeStream]:
    """Takes the wake streams that nobody listens to, and keeps those that are ours already.

    For ``LEASE_SECONDS`` each. If there are none, it takes one statement.
    """
    free = Q(expires_at=None) | Q(expires_at__lt=ServerNow()) | Q(holder=holder)
    pks = list(_wanted(using).filter(free).values_list("pk", flat=True))
    if not pks:
        return []
    wanted = WakeStream.objects.using(using).filter(pk__in=pks)
    wanted.filter(free).update(holder=holder, expires_at=after(get_settings().lease_seconds))
    return list(wanted.filter(holder=holder))


def stop_listening(using: str, holder: str) -> None:
    """Lets others listen at once; since when nobody does can be seen in the row."""
    ours = WakeStream.objects.using(using).filter(holder=holder)
    ours.update(holder="", expires_at=after(-1))


def told_by(using: str, wake_stream: WakeStream) -> Stream | None:
    """One of the streams that the wake stream names, whose headers are used to read it."""
    streams = Stream.objects.using(using).filter(doorbell__wake_stream=wake_stream.pk)
    return streams.order_by("pk").first()


def hear(
    using: str,
    wake_stream: WakeStream,
    generations: Iterable[tuple[str, int]],
    position: Position,
) -> bool:
    """Rings for the subscriptions, and advances the position; False if another seat listens now.

    A wake that was heard before changes nothing.
    """
    with commit_transaction(using):
        ours = WakeStream.objects.using(using).filter(pk=wake_stream.pk, holder=wake_stream.holder)
        moved = ours.update(
            offset=position.offset, skip=position.skip, ordinal=position.ordinal, last_error=""
        )
        if not moved:
            return False
        doorbells = Doorbell.objects.using(using).filter(wake_stream=wake_stream.pk)
        for subscription, generation in generations:
            ring(doorbells.filter(subscription=subscription), generation)
    return True


def note_deafness(using: str, wake_stream: WakeStream, error: str, position: Position) -> None:
    """Stores why nothing can be heard, and where to continue."""
    ours = WakeStream.objects.using(using).filter(pk=wake_stream.pk, holder=wake_stream.holder)
    ours.update(
        offset=position.offset, skip=position.skip, ordinal=position.ordinal, last_error=error
    )


def _wanted(using: str) -> QuerySet[WakeStream]:
    """The wake streams that still name a stream."""
    doorbells = Doorbell.objects.using(using).filter(wake_stream=OuterRef("pk"))
    return WakeStream.objects.using(using).filter(Exists(doorbells))
