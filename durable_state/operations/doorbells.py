"""Has servers ring for streams, or stop ringing."""

from __future__ import annotations

import logging
from functools import partial

from django.db import transaction

from durable_state.consumer import subscribe, unsubscribe
from durable_state.databases.clock import ServerNow
from durable_state.errors import DurableStateError
from durable_state.models import DOORBELLS, Doorbell, Stream

from .probing import Finding

__all__ = ["exchange_doorbell", "ring_for"]

logger = logging.getLogger("durable_state.operations")


def ring_for(stream: Stream) -> Finding:
    """Asks the stream's server to ring for it, and returns what it said. Raises nothing.

    A worker asks again when it reads the stream, if the server was not asked yet or has forgotten.
    """
    try:
        subscribe(stream)
    except DurableStateError as error:
        return Finding(f"The server does not ring for it: {error}", False)
    return Finding(f"The server rings for it by {stream.get_live_display()}.", True)


def exchange_doorbell(was: Stream, live: str = "") -> None:
    """Removes the stream's doorbell, and adds another one if ``live`` needs a doorbell.

    Call it inside the verb's transaction; the old doorbell's server is told after the commit.
    """
    doorbells = Doorbell.objects.using(was.using)
    old = doorbells.filter(pk=was.pk).first()
    if old is not None:
        doorbells.filter(pk=was.pk).delete()
        told = partial(_take_down, was, old.subscription)
        transaction.on_commit(told, using=was.using, robust=True)

    if live in DOORBELLS:
        doorbells.create(stream_id=was.pk, due_at=ServerNow())


def _take_down(stream: Stream, subscription: str) -> None:
    """Tells the server to stop ringing; if it cannot be told, it rings in vain from now on."""
    try:
        unsubscribe(stream, subscription)
    except DurableStateError as error:
        logger.warning(
            "%s: its server may go on ringing for the subscription %s: %s",
            stream.name,
            subscription,
            error,
        )
