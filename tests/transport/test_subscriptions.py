"""Subscribing, claiming and acknowledging at the reference server."""

from __future__ import annotations

from uuid import uuid4

import httpx
import msgspec
import pytest

from durable_state.errors import ProtocolViolation, RequestRefused
from durable_state.protocol.subscriptions import ClaimedWake, SubscriptionKind
from durable_state.transport import Acknowledged, Subscriptions, append, create, delete, head
from tests.servers.process import StreamServer

from .support.reading import messages

HOOK = {"webhook": {"url": "http://127.0.0.1:9/nobody"}}


class Remote:
    """A stream at the reference server, a wake stream, and a subscription between the two."""

    def __init__(self, server: StreamServer, client: httpx.AsyncClient) -> None:
        self.client = client
        self.root = f"{server.url}/v1/stream"
        self.url, self.wakes = server.stream("chat"), server.stream("wakes")
        self.subscriptions = Subscriptions(client, self.url, self.root)
        self.id = f"ours/{uuid4().hex}"

    async def subscribe(self) -> bool:
        wake_stream = self.wakes.removeprefix(f"{self.root}/")
        return await self.subscriptions.subscribe(
            self.id, SubscriptionKind.PULL_WAKE, wake_stream=wake_stream
        )

    async def claim(self) -> ClaimedWake | None:
        return await self.subscriptions.claim(self.id, "a worker")

    async def tail(self) -> str:
        return (await head(self.client, self.url)).offset

    async def acknowledge(self, claim: ClaimedWake, offset: str) -> Acknowledged:
        kind = SubscriptionKind.PULL_WAKE
        return await self.subscriptions.acknowledge(self.id, kind, claim, offset)

    async def linked(self) -> list[str]:
        url = f"{self.root}/__ds/subscriptions/{self.id.replace('/', '%2F')}"
        return [each["path"] for each in (await self.client.get(url)).json()["streams"]]


@pytest.fixture
async def remote(reference_server: StreamServer, client: httpx.AsyncClient) -> Remote:
    """An empty stream that nobody has subscribed to."""
    remote = Remote(reference_server, client)
    assert await create(client, remote.url)
    assert await create(client, remote.wakes)
    return remote


async def test_a_subscription_is_there_once(remote: Remote) -> None:
    """Asked again, it stays; asked differently, it is replaced; deleted twice, it is gone."""
    assert await remote.subscribe()
    assert not await remote.subscribe()

    webhook = SubscriptionKind.WEBHOOK
    assert await remote.subscriptions.subscribe(remote.id, webhook, **HOOK)
    assert not await remote.subscriptions.subscribe(remote.id, webhook, **HOOK)

    await remote.subscriptions.unsubscribe(remote.id)
    await remote.subscriptions.unsubscribe(remote.id)
    assert await remote.subscribe()


async def test_a_stream_that_was_created_anew_is_linked_again(remote: Remote) -> None:
    """Its link went with it, and the subscription did not."""
    await remote.subscribe()
    await delete(remote.client, remote.url)
    await create(remote.client, remote.url)
    assert await remote.linked() == []

    assert not await remote.subscribe()
    assert await remote.linked() == [remote.subscriptions.path]


async def test_the_servers_keys_are_read(remote: Remote) -> None:
    """As published below its root."""
    (key,) = (await remote.subscriptions.keys()).values()
    assert len(key) == 32


async def test_a_wake_is_claimed_and_acknowledged_once(remote: Remote) -> None:
    """The cursor moves; then there is nothing to claim until more is appended."""
    await remote.subscribe()
    assert await remote.claim() is None

    await append(remote.client, remote.url, messages(2))
    first = await remote.claim()
    assert first is not None
    assert await remote.claim() is None  # it is ours

    tail = await remote.tail()
    assert await remote.acknowledge(first, tail) is Acknowledged.TAKEN
    assert await remote.acknowledge(first, tail) is Acknowledged.FENCED
    assert await remote.claim() is None

    await append(remote.client, remote.url, messages(1, 2))
    second = await remote.claim()
    assert second is not None
    assert second.generation > first.generation
    assert await remote.acknowledge(first, tail) is Acknowledged.FENCED


async def test_a_claim_that_is_released_can_be_had_again(remote: Remote) -> None:
    """And it announces its next wake in the wake stream."""
    await remote.subscribe()
    await append(remote.client, remote.url, messages(1))
    first = await remote.claim()
    assert first is not None
    before = (await head(remote.client, remote.wakes)).offset

    await remote.subscriptions.release(remote.id, first)
    await remote.subscriptions.release(remote.id, first)  # for a wake that is over: ignored
    assert (await head(remote.client, remote.wakes)).offset != before
    second = await remote.claim()
    assert second is not None
    assert second.generation == first.generation + 1


async def test_an_offset_that_is_not_the_streams_is_refused(remote: Remote) -> None:
    """And the claim is still ours."""
    await remote.subscribe()
    await append(remote.client, remote.url, messages(1))
    claim = await remote.claim()
    assert claim is not None
    assert await remote.acknowledge(claim, "9" * 33) is Acknowledged.REFUSED
    assert await remote.acknowledge(claim, await remote.tail()) is Acknowledged.TAKEN


async def test_a_deleted_subscription_is_unknown(remote: Remote) -> None:
    """Whoever still reads for it has to subscribe again."""
    await remote.subscribe()
    await append(remote.client, remote.url, messages(1))
    claim = await remote.claim()
    assert claim is not None
    await remote.subscriptions.unsubscribe(remote.id)
    assert await remote.acknowledge(claim, await remote.tail()) is Acknowledged.UNKNOWN


async def test_a_server_without_subscriptions_says_so(
    rakaia_server: StreamServer, client: httpx.AsyncClient
) -> None:
    """With advice: this one takes the subscription for a stream."""
    root = f"{rakaia_server.url}/v1/stream"
    subscriptions = Subscriptions(client, rakaia_server.stream(), root)
    with pytest.raises(ProtocolViolation, match="STREAM_ROOTS"):
        await subscriptions.subscribe("ours", SubscriptionKind.WEBHOOK, **HOOK)


async def test_a_server_that_refuses_says_so(remote: Remote) -> None:
    """With advice too: the reference server calls no private address."""
    hook = {"webhook": {"url": "https://10.0.0.1/"}}
    with pytest.raises(RequestRefused, match=r"WEBHOOK_URL_REJECTED.*STREAM_ROOTS"):
        await remote.subscriptions.subscribe("ours", SubscriptionKind.WEBHOOK, **hook)


async def test_the_token_takes_the_place_of_the_streams_own() -> None:
    """Whatever the case of its name; anything else that a gateway needs is sent."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(b'{"ok": true}'))

    async def headers() -> dict[str, str]:
        return {"Authorization": "Bearer service", "x-tenant": "seven"}

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as mocked:
        subscriptions = Subscriptions(mocked, "http://a.test/s/x", "http://a.test/s", headers)
        claim = ClaimedWake("w_1", 3, "token-of-the-wake")
        taken = await subscriptions.acknowledge("i", SubscriptionKind.WEBHOOK, claim, "o 1")

    assert taken is Acknowledged.TAKEN
    (request,) = asked
    assert request.url.path == "/s/__ds/subscriptions/i/callback"
    assert request.headers.get_list("authorization") == ["Bearer token-of-the-wake"]
    assert request.headers["x-tenant"] == "seven"
    assert msgspec.json.decode(request.content) == {
        "wake_id": "w_1",
        "generation": 3,
        "acks": [{"stream": "x", "offset": "o 1"}],
        "done": True,
    }
