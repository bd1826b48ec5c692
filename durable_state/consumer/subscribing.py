"""Asks a server about subscriptions, with the project's settings and the stream's headers."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_state.conf import get_settings
from durable_state.errors import ConfigurationError
from durable_state.models import Doorbell, Live, Stream, WakeStream
from durable_state.protocol import check_url
from durable_state.protocol.subscriptions import SubscriptionKind, path_below, stream_root
from durable_state.transport import Subscriptions, create, open_client

from . import doorbells
from .project_calls import ProjectCalls
from .request_headers import headers_function

__all__ = ["ask_for_keys", "confirm", "root_of", "subscribe", "subscriptions_of", "unsubscribe"]

SECONDS = 10.0
"""Seconds that a server has for everything that a verb, or a web request, asks it."""


def root_of(stream: Stream) -> str:
    """The URL below which the stream's server has its streams and subscriptions.

    Raises: ConfigurationError, also if the stream's URL is not within ALLOWED_URLS.
    """
    settings = get_settings()
    check_url(stream.url, settings.allowed_urls)
    return stream_root(stream.url, settings.stream_roots)


def subscriptions_of(client: Any, stream: Stream, calls: ProjectCalls) -> Subscriptions:
    """The client for the stream's server. Raises: ConfigurationError."""
    headers = headers_function(stream, calls)
    return Subscriptions(client, stream.url, root_of(stream), headers)


async def confirm(server: Subscriptions, stream: Stream, doorbell: Doorbell) -> WakeStream | None:
    """Makes sure that the server rings for the stream; returns the wake stream that it rings in, if
    any.

    Raises: TransportError, ConfigurationError.
    """
    how: dict[str, Any] = {"description": f"Durable State for Django: {stream.name}"}
    if stream.live == Live.WEBHOOK:
        how["webhook"] = {"url": webhook_url(stream)}
        await server.subscribe(doorbell.subscription, SubscriptionKind.WEBHOOK, **how)
        return None

    url = f"{server.root}/{get_settings().wake_stream}"
    wake_stream = WakeStream(digest=WakeStream.digest_of(url), url=url)
    if doorbell.wake_stream_id != wake_stream.digest:
        # The protocol leaves creating it to the application. From then on, whoever listens does it.
        await create(server.client, url, headers=server.headers)
    how["wake_stream"] = path_below(server.root, url)
    await server.subscribe(doorbell.subscription, SubscriptionKind.PULL_WAKE, **how)
    return wake_stream


def webhook_url(stream: Stream) -> str:
    """The URL at which the server is to call us for the stream. Raises: ConfigurationError."""
    address = get_settings().webhook_url
    if address is None:
        raise ConfigurationError(
            f"WEBHOOK_URL is not set, so the server of {stream.name} has no address to call.",
            "Set DURABLE_STATE['WEBHOOK_URL'] to the public URL of durable_state.urls, "
            "followed by doorbells/.",
        )
    return f"{address.rstrip('/')}/{stream.using}/{stream.name}/"


def ask_for_keys(stream: Stream) -> dict[str, bytes]:
    """The keys that the stream's server signs with, by their ids; for callers that are not async.

    Raises: TransportError, ConfigurationError.
    """

    async def ask() -> dict[str, bytes]:
        async with open_client() as client:
            return await subscriptions_of(client, stream, ProjectCalls()).keys()

    return asyncio.run(ask())


def subscribe(stream: Stream) -> None:
    """Asks the server to ring for the stream from now on; for callers that are not async.

    Raises: TransportError, ConfigurationError.
    """

    async def ask(doorbell: Doorbell) -> WakeStream | None:
        async with open_client() as client:
            server = subscriptions_of(client, stream, ProjectCalls())
            return await confirm(server, stream, doorbell)

    doorbell = doorbells.open_doorbell(stream)
    if doorbell.confirmed_at is None:
        doorbells.forget_wakes(doorbell)
    doorbells.note_confirmed(doorbell, asyncio.run(ask(doorbell)))


def unsubscribe(stream: Stream, subscription: str) -> None:
    """Asks the server to ring for the stream no longer; for callers that are not async.

    Raises: TransportError, ConfigurationError.
    """

    async def ask() -> None:
        async with open_client() as client:
            server = subscriptions_of(client, stream, ProjectCalls())
            await server.unsubscribe(subscription)

    asyncio.run(ask())
