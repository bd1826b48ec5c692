"""What a reader does for a stream with a doorbell, besides reading it to its tail. Why: decision
62.
"""

from __future__ import annotations

import logging

from durable_state.errors import DurableStateError, Unavailable
from durable_state.models import Doorbell, Live, Stream
from durable_state.protocol import START
from durable_state.protocol.subscriptions import ClaimedWake, SubscriptionKind
from durable_state.transport import Acknowledged, Subscriptions

from . import doorbells
from .doorbells import Failure
from .process_names import name_process
from .seat import Seat
from .subscribing import confirm, subscriptions_of

__all__ = ["Visit"]

logger = logging.getLogger("durable_state.consumer")


class Visit:
    """One reading of a stream, from its ring to its rest, under the stream's lease.

    Invariant: the stream stays due until everything it rang for is committed and the server knows,
    so if a reader dies in between, another visit follows. Nothing that a server says about rings
    keeps a stream from being read.
    """

    def __init__(self, stream: Stream, seat: Seat) -> None:
        self._stream = stream
        self._seat = seat
        self._threads = seat.threads
        self._worker = name_process("doorbell")
        self._seen = Doorbell()
        self._failure: Failure | None = None

    async def begin(self) -> None:
        """Before reading: whatever is appended from here on rings again."""
        self._seen = await self._threads.run(doorbells.open_doorbell, self._stream)
        try:
            server = self._server()
            if not self._seen.is_rung or self._seen.confirmed_at is None:
                await self._confirm(server)
            if self._stream.live == Live.PULL_WAKE and not self._seen.wake_id:
                await self._claim(server)
        except DurableStateError as error:
            await self._note(error)
        self._seen = await self._threads.run(doorbells.open_doorbell, self._stream)

    async def finish(self) -> None:
        """After everything up to the tail is committed: tells the server, and lets the stream
        rest.
        """
        try:
            if self._seen.wake_id:
                await self._acknowledge(self._server())
        except DurableStateError as error:
            await self._note(error)
        await self._threads.run(doorbells.let_rest, self._seen, self._failure)

    async def abandon(self) -> None:
        """If the tail was not reached: gives a claimed wake back, so that the server wakes again.

        The stream stays due.
        """
        if self._stream.live != Live.PULL_WAKE or not self._seen.wake_id:
            return
        try:
            await self._server().release(self._seen.subscription, _claim_in(self._seen))
        except DurableStateError as error:
            logger.info("%s: the claim could not be given back: %s", self._stream, error)
        await self._threads.run(doorbells.drop_claim, self._seen)

    async def _confirm(self, server: Subscriptions) -> None:
        if self._seen.confirmed_at is None:
            await self._threads.run(doorbells.forget_wakes, self._seen)
        wake_stream = await confirm(server, self._stream, self._seen)
        await self._threads.run(doorbells.note_confirmed, self._seen, wake_stream)

    async def _claim(self, server: Subscriptions) -> None:
        claim = await server.claim(self._seen.subscription, self._worker)
        if claim is not None:
            await self._threads.run(doorbells.keep_claim, self._seen, claim)

    async def _acknowledge(self, server: Subscriptions) -> None:
        stream, subscription = self._stream, self._seen.subscription
        kind = SubscriptionKind(stream.live)
        offset = None if stream.offset == START.offset else stream.offset

        answer = await server.acknowledge(subscription, kind, _claim_in(self._seen), offset)
        if answer is Acknowledged.FENCED and kind is SubscriptionKind.PULL_WAKE:
            # Reading took longer than the server waits, and nobody else rings for a wake that it
            # took back.
            claim = await server.claim(subscription, self._worker)
            if claim is not None:
                answer = await server.acknowledge(subscription, kind, claim, offset)

        if answer is Acknowledged.UNKNOWN:
            # With its new generation, the doorbell stays due, and is subscribed again.
            await self._threads.run(doorbells.forget_wakes, self._seen)
        elif answer is Acknowledged.REFUSED:
            said = f"The server of {stream.name} refuses to note that it is read up to {offset}."
            action = "It will ring again; check that it is the stream that was read."
            await self._threads.run(doorbells.note_trouble, self._seen, said, action)
        elif self._seen.last_error:
            await self._threads.run(doorbells.note_trouble, self._seen, "", "")

    async def _note(self, error: DurableStateError) -> None:
        logger.info("%s: its doorbell: %s", self._stream, error)
        is_away = isinstance(error, Unavailable)
        self._failure = Failure.AWAY if is_away else Failure.REFUSED
        note = doorbells.note_trouble
        await self._threads.run(note, self._seen, error.message, error.action)

    def _server(self) -> Subscriptions:
        """The client for the stream's server. Raises: ConfigurationError."""
        return subscriptions_of(self._seat.client, self._stream, self._threads.project_calls)


def _claim_in(doorbell: Doorbell) -> ClaimedWake:
    """What the doorbell stores about its wake."""
    return ClaimedWake(doorbell.wake_id, doorbell.generation, doorbell.token)
