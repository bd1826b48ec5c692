"""Subscribes to a stream's wakes at its server, and claims and acknowledges them.

Nothing here is retried. Spec: PROTOCOL.md 6 and 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

import httpx
import msgspec

from durable_state.errors import ProtocolViolation, RequestRefused, Unavailable
from durable_state.protocol import mask_query
from durable_state.protocol.signatures import decode_keys
from durable_state.protocol.subscriptions import (
    ClaimedWake,
    LinkedStream,
    SubscriptionKind,
    keys_url,
    path_below,
    same_path,
    subscription_url,
)

from .body import read_beginning
from .client import AskHeaders, exchange, said
from .refusals import refusal

__all__ = ["Acknowledged", "Subscriptions"]

T = TypeVar("T")

LEASE_MS = 60_000
"""How long a server waits for the answer to a ring before it rings again, in milliseconds."""
_BODY = 1024 * 1024
_SILENCE = 10.0
"""How long a server may take for each answer, in seconds; a web request or a seat waits for it."""
_WHAT_TO_SEE = (
    "Check that the server offers subscriptions, that DURABLE_STATE['STREAM_ROOTS'] names the"
    " address below which it has its streams, and that HEADERS gives what it requires."
)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The errors that decoding JSON may raise."""


class Acknowledged(Enum):
    """What a server answers to an acknowledgement."""

    TAKEN = "its cursor is moved"
    FENCED = "the wake is over: another one has come, or comes where anything is left"
    UNKNOWN = "it has no such subscription"
    REFUSED = "it does not take the offset"


class _Subscribed(msgspec.Struct):
    streams: list[LinkedStream] = []


class _Code(msgspec.Struct):
    code: str = ""


class _Error(msgspec.Struct):
    error: _Code


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """A server's subscriptions for one stream."""

    client: httpx.AsyncClient
    url: str
    """The address of the stream."""
    root: str
    """The address below which the server has its streams."""
    headers: AskHeaders | None = None

    @property
    def path(self) -> str:
        """The stream's path, as request bodies have it."""
        return path_below(self.root, self.url)

    async def keys(self) -> dict[str, bytes]:
        """The keys with which the server signs webhooks, by their ids. Spec: PROTOCOL.md 6.5.

        Raises: TransportError.
        """
        url = keys_url(self.root, stream=self.url)
        _, body = await self._ask("GET", url, None, (200,))
        try:
            return decode_keys(body)
        except _UNREADABLE as error:
            raise _unreadable(url, error) from error

    async def subscribe(self, subscription: str, kind: SubscriptionKind, **how: Any) -> bool:
        """Makes sure that the server rings for the stream; False if it did already.

        ``how`` is what the kind needs. An existing subscription that differs is replaced.
        Raises: TransportError. Spec: PROTOCOL.md 6.2, 6.4.
        """
        url = subscription_url(self.root, subscription, stream=self.url)
        wanted = {"type": kind, "streams": [self.path], "lease_ttl_ms": LEASE_MS, **how}
        status, body = await self._ask("PUT", url, wanted, (200, 201, 409))
        if status == 409:
            await self.unsubscribe(subscription)
            status, body = await self._ask("PUT", url, wanted, (200, 201))

        # The link disappears when the stream is deleted, and does not come back with the stream.
        found = _decode(body, _Subscribed, url)
        if not any(same_path(each.path, self.path) for each in found.streams):
            linking = subscription_url(self.root, subscription, "streams", stream=self.url)
            await self._ask("POST", linking, {"streams": [self.path]}, (200, 204))
        return status == 201

    async def unsubscribe(self, subscription: str) -> None:
        """Has the server stop ringing. Raises: TransportError. Spec: PROTOCOL.md 6.3."""
        url = subscription_url(self.root, subscription, stream=self.url)
        await self._ask("DELETE", url, None, (200, 204, 404, 410))

    async def claim(self, subscription: str, worker: str) -> ClaimedWake | None:
        """Claims the subscription's wake; None if there is none, or if another worker has it.

        Raises: TransportError. Spec: PROTOCOL.md 7.2.
        """
        url = subscription_url(self.root, subscription, "claim", stream=self.url)
        status, body = await self._ask("POST", url, {"worker": worker}, (200, 409))
        return _decode(body, ClaimedWake, url) if status == 200 else None

    async def acknowledge(
        self, subscription: str, kind: SubscriptionKind, claim: ClaimedWake, offset: str | None
    ) -> Acknowledged:
        """Tells the server that the stream was read up to the offset, and that the wake is over.

        Raises: TransportError. Spec: PROTOCOL.md 7.1, 7.2.
        """
        action = "callback" if kind is SubscriptionKind.WEBHOOK else "ack"
        url = subscription_url(self.root, subscription, action, stream=self.url)
        acks = [] if offset is None else [{"stream": self.path, "offset": offset}]
        wake = {"wake_id": claim.wake_id, "generation": claim.generation}
        status, body = await self._ask(
            "POST",
            url,
            {**wake, "acks": acks, "done": True},
            (200, 204, 401, 404, 409, 410),
            token=claim.token,
        )
        if status in (200, 204):
            return Acknowledged.TAKEN
        if status in (404, 410):
            return Acknowledged.UNKNOWN
        return Acknowledged.REFUSED if _code(body) == "INVALID_OFFSET" else Acknowledged.FENCED

    async def release(self, subscription: str, claim: ClaimedWake) -> None:
        """Gives back the claim, so that the server wakes again.

        Raises: TransportError. Spec: PROTOCOL.md 7.2.
        """
        url = subscription_url(self.root, subscription, "release", stream=self.url)
        body = {"wake_id": claim.wake_id, "generation": claim.generation}
        await self._ask("POST", url, body, (200, 204, 401, 404, 409, 410), token=claim.token)

    async def _ask(
        self, method: str, url: str, body: Any, hoped: tuple[int, ...], *, token: str = ""
    ) -> tuple[int, bytes]:
        """The status and body of the answer. Raises: TransportError, for an unexpected status."""
        content = None if body is None else msgspec.json.encode(body)
        own = {} if content is None else {"content-type": "application/json"}
        headers = self._with_token(token) if token else self.headers
        async with exchange(
            self.client,
            method,
            url,
            own,
            headers=headers,
            content=content,
            stream=self.url,
            silence=_SILENCE,
        ) as response:
            if response.status_code in hoped:
                return response.status_code, await read_beginning(response, _BODY, _SILENCE)

            error = refusal(response.status_code, response.headers, url, await said(response))
            if isinstance(error, Unavailable):
                raise error
            raise RequestRefused(error.message, _WHAT_TO_SEE, response.status_code)

    def _with_token(self, token: str) -> AskHeaders:
        """The stream's headers, with the wake's own token for authorization."""

        async def ask() -> Mapping[str, str]:
            given = await self.headers() if self.headers else {}
            kept = {name: each for name, each in given.items() if name.lower() != "authorization"}
            return kept | {"authorization": f"Bearer {token}"}

        return ask


def _decode(body: bytes, kind: type[T], url: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except _UNREADABLE as error:
        raise _unreadable(url, error) from error


def _unreadable(url: str, error: Exception) -> ProtocolViolation:
    return ProtocolViolation(
        f"{mask_query(url)} gave an unexpected answer: {error}.",
        _WHAT_TO_SEE,
    )


def _code(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Error).error.code
    except _UNREADABLE:
        return ""
