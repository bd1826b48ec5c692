"""Reads, in one query, what others may have changed about the streams of a seat."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Exists, Model, OuterRef, QuerySet

from durable_state.materializer import PROTECTED
from durable_state.models import Arrival, DeadLetter, ParkedChange, Status, Stream

from .seating import Place

__all__ = ["Seen", "look_at_held", "look_at_stream"]


class Seen(NamedTuple):
    """The state of a stream at one moment."""

    paused: bool
    revision: int
    url: str
    live: str
    heartbeat_seconds: float | None
    retry_at: datetime | None

    may_release: bool
    """Whether parked or refused changes may now be shown: another stream has shown a parent, or
    some changes can only be polled.
    """

    replay_pk: int | None
    replay_retry_at: datetime | None
    replay_status: str | None

    @property
    def is_replayable(self) -> bool:
        """Whether there is a replay that can run."""
        stopped = (None, Status.HALTED, Status.NEEDS_RESET)
        return not self.paused and self.replay_status not in stopped


def look_at_held(place: Place) -> dict[int, tuple[int, Seen]]:
    """The fencing token of each of the seat's leases, and the state of its stream."""
    held = _streams(place.using).filter(lease__seat=place.pk)
    rows = held.values_list("pk", "lease__token", *_COLUMNS)
    return {pk: (token, Seen(*told)) for pk, token, *told in rows}


def look_at_stream(stream: Stream) -> Seen | None:
    """The state of one stream, whoever consumes it; None if it was removed."""
    row = _streams(stream.using).filter(pk=stream.pk).values_list(*_COLUMNS).first()
    return None if row is None else Seen(*row)


def _streams(using: str) -> QuerySet[Stream]:
    def exists(model: type[Model], **conditions: Any) -> Exists:
        rows = model._base_manager.using(using)
        return Exists(rows.filter(stream=OuterRef("pk"), **conditions))

    refused = {"generation": DeadLetter.SHOWN, "reason": PROTECTED}
    return (
        Stream.objects.using(using)
        .annotate(
            may_release=exists(Arrival)
            | exists(ParkedChange, polled=True)
            | exists(DeadLetter, **refused)
        )
        .order_by()
    )


_COLUMNS = (
    "paused",
    "revision",
    "url",
    "live",
    "heartbeat_seconds",
    "retry_at",
    "may_release",
    "replay__pk",
    "replay__retry_at",
    "replay__status",
)
