"""When streams with doorbells are due: they ring, are read, and rest.

Why: decision 62.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db.models import DateTimeField, ExpressionWrapper, QuerySet, Value

from durable_state.conf import get_settings
from durable_state.databases.clock import ServerNow, database_now
from durable_state.models import Doorbell, Stream, WakeStream
from durable_state.protocol.subscriptions import ClaimedWake

__all__ = [
    "Failure",
    "after",
    "drop_claim",
    "due_doorbells",
    "forget_wakes",
    "keep_claim",
    "let_rest",
    "make_due",
    "note_confirmed",
    "note_trouble",
    "open_doorbell",
    "ring",
]

SPREAD = 0.25
"""By what share of the interval regular reads may come sooner or later, so that streams that start
together do not stay together."""


class Failure(enum.Enum):
    """Why an exchange with the server about a doorbell failed."""

    AWAY = "it does not answer"
    REFUSED = "it refuses"


_RETRIES = {Failure.AWAY: 30.0, Failure.REFUSED: 600.0}
"""Most seconds until the next attempt."""


def due_doorbells(using: str) -> QuerySet[Doorbell]:
    """The doorbells whose streams need a reader now, longest waiting first.

    It is a range of an index, so streams at rest cost nothing.
    """
    return Doorbell.objects.using(using).filter(due_at__lte=ServerNow()).order_by("due_at")


def open_doorbell(stream: Stream) -> Doorbell:
    """The stream's doorbell; a new one is due."""
    doorbells = Doorbell.objects.using(stream.using)
    doorbell, _ = doorbells.get_or_create(stream_id=stream.pk, defaults={"due_at": ServerNow()})
    return doorbell


def ring(doorbells: QuerySet[Doorbell], generation: int, wake: ClaimedWake | None = None) -> bool:
    """Has the streams of these doorbells read. False if this ring, or a newer one, came before.

    The ``wake`` of a webhook is kept, to be acknowledged once they are read.
    """
    newer = doorbells.filter(generation__lt=generation)
    return bool(
        newer.update(
            due_at=ServerNow(),
            rung_at=database_now(newer.db),  # for display
            is_rung=True,
            generation=generation,
            wake_id="" if wake is None else wake.wake_id,
            token="" if wake is None else wake.token,
        )
    )


def keep_claim(seen: Doorbell, claim: ClaimedWake) -> None:
    """Keeps a claimed wake, so that the next reader can acknowledge it.

    The stream becomes due as if it had rung, because it no longer rings for a claimed wake.
    """
    _now(seen).filter(generation__lte=claim.generation).update(
        due_at=ServerNow(),
        is_rung=True,
        generation=claim.generation,
        wake_id=claim.wake_id,
        token=claim.token,
    )


def drop_claim(seen: Doorbell) -> None:
    """Forgets a wake that was given back."""
    _now(seen).filter(generation=seen.generation).update(wake_id="", token="")


def let_rest(seen: Doorbell, failure: Failure | None = None) -> bool:
    """Lets the stream rest until it rings or its next regular read is due, which is soon after a
    failure.

    False if it has rung again since it was ``seen``, and so stays due.
    """
    rests = get_settings().doorbell_poll_seconds * random.uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311
    columns: dict[str, Any] = {}
    if failure is None:
        columns |= {"is_rung": False, "wake_id": "", "token": ""}
    else:
        rests = min(rests, _RETRIES[failure])
    rested = _now(seen).filter(generation=seen.generation)
    return bool(rested.update(due_at=after(rests), **columns))


def make_due(stream_pks: Iterable[int], using: str) -> None:
    """Has those of the streams that have doorbells read now."""
    Doorbell.objects.using(using).filter(pk__in=stream_pks).update(due_at=ServerNow())


def forget_wakes(seen: Doorbell) -> None:
    """Starts counting rings anew, because the server does not have the subscription."""
    _now(seen).update(generation=0, wake_id="", token="", confirmed_at=None)


def note_confirmed(seen: Doorbell, wake_stream: WakeStream | None) -> None:
    """Records that the server rings for the stream, and in which wake stream, if any."""
    if wake_stream is not None:
        streams = WakeStream.objects.using(seen.using)
        streams.bulk_create([wake_stream], ignore_conflicts=True)
    _now(seen).update(confirmed_at=ServerNow(), wake_stream=wake_stream, last_error="", action="")


def note_trouble(seen: Doorbell, message: str, action: str) -> None:
    """Records why the server does not ring, or refuses what it is told."""
    _now(seen).update(last_error=message, action=action)


def _now(seen: Doorbell) -> QuerySet[Doorbell]:
    """The current row of the doorbell; none if another has replaced it."""
    doorbells = Doorbell.objects.using(seen.using)
    return doorbells.filter(pk=seen.pk, subscription=seen.subscription)


def after(seconds: float) -> ExpressionWrapper[Any]:
    """So many seconds from now, on the database's clock."""
    return ExpressionWrapper(
        ServerNow() + Value(timedelta(seconds=seconds)), output_field=DateTimeField()
    )
