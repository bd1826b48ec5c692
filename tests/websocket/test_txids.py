"""Who learns of which transactions: those of the types and rows that one sees."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db.models import QuerySet

from durable_state import StatePolicy
from durable_state.models import DeadLetter, Stream
from durable_state.testing import apply
from tests.app.models import Message
from tests.feed.support.client import Client
from tests.wire import change

from .support.socket import Socket

pytestmark = pytest.mark.django_db(transaction=True)


class PopularMessages(StatePolicy):
    """Shows messages with more than ten likes, and no settings."""

    def streams(self, user: Any) -> QuerySet[Stream]:
        """All of them."""
        return Stream.objects.all()

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """By model."""
        return queryset.filter(likes__gt=10) if queryset.model is Message else queryset.none()


def with_txid(entity: str, txid: Any, operation: str = "upsert", **fields: Any) -> dict[str, Any]:
    """A change, for instance of "message/a", with its transaction."""
    entity_type, _, key = entity.partition("/")
    return change(entity_type, key, operation, headers={"txid": txid}, **fields)


class Reader:
    """A websocket with a reader; ``told`` returns the transactions in one commit's frames."""

    def __init__(self, application: Any, query: str = "") -> None:
        self._socket = Socket(application, f"/ws/state/chat/{query}")
        self.client = Client()

    async def begin(self) -> None:
        """Connects, and takes the snapshot."""
        assert await self._socket.connect() is None
        await self._until_revision()

    async def told(self, *messages: Any) -> list[str]:
        """Commits these messages; returns the transactions in the frames."""
        before = len(self.client.frames)
        await sync_to_async(apply)("chat", list(messages))
        await self._until_revision()
        found: dict[str, None] = {}
        for frame in self.client.frames[before:]:
            for item in frame["items"]:
                headers = item["headers"]
                found |= dict.fromkeys(headers.get("txids", []))
                found |= dict.fromkeys([headers["txid"]] if "txid" in headers else [])
        return list(found)

    async def _until_revision(self) -> None:
        stream = await Stream.objects.aget(name="chat")
        while not (self.client.up_to_date and self.client.offset.endswith(f".{stream.revision}")):
            self.client.fold(await self._socket.receive_text())

    async def end(self) -> None:
        """Leaves."""
        await self._socket.disconnect()


async def reader(application: Any, *messages: Any, query: str = "") -> Reader:
    """A reader of the stream, with these messages in it."""
    await sync_to_async(apply)("chat", list(messages))
    made = Reader(application, query)
    await made.begin()
    return made


async def test_transactions_of_other_types_are_not_told(
    make_user: Any, as_user: Any, configure: Callable[..., None]
) -> None:
    """Neither with a visible change, nor alone; for the same entity, all are reported."""
    configure(FEED_POLL_SECONDS=0.05)
    user = await sync_to_async(make_user)("app.view_message")
    ada = await reader(as_user(user), with_txid("message/a", "t0", text="one"))
    assert await ada.told(
        with_txid("message/a", "t1", text="two"), with_txid("setting/s", "hidden1", x=1)
    ) == ["t1"]
    assert await ada.told(with_txid("setting/s", "hidden2", x=2)) == []
    assert await ada.told(
        with_txid("setting/s", "both", x=3), with_txid("message/b", "both", text="x")
    ) == ["both"]
    assert await ada.told(
        with_txid("message/a", "t2", text="three"),
        with_txid("unregistered/u", "hidden3", x=1),
        with_txid("message/a", "t3", text="four"),
    ) == ["t2", "t3"]
    assert "hidden" not in repr(ada.client.frames)
    await ada.end()


async def test_a_transaction_is_told_however_it_ended(
    make_user: Any, as_user: Any, configure: Callable[..., None]
) -> None:
    """Refused, repeated, deleting a missing entity: the frames' state stays right."""
    configure(FEED_POLL_SECONDS=0.05)
    user = await sync_to_async(make_user)("app.view_message")
    ada = await reader(as_user(user), with_txid("message/a", "t0", text="one"))
    before = ada.client.state.copy()
    assert await ada.told(with_txid("message/a", "t1", text="x" * 50)) == ["t1"]
    assert await ada.told(with_txid("message/new", "t2", text="x" * 50)) == ["t2"]
    assert await DeadLetter.objects.acount() == 2
    assert await ada.told(with_txid("message/a", "t3", text="one")) == ["t3"]
    assert await ada.told(with_txid("message/none", "t4", "delete")) == ["t4"]
    assert await ada.told(
        with_txid("message/a", "t5", text="x" * 50), with_txid("message/none", "t6", "delete")
    ) == ["t5", "t6"]
    assert await ada.told(with_txid("message/a", "t7", "bogus", text="x")) == ["t7"]
    assert await ada.told(with_txid("message/a", 8, text="one")) == ["8"]
    assert await ada.told(with_txid("message/a", 9, "bogus")) == ["9"]
    unreadable = [with_txid("message/a", txid, "bogus") for txid in (5.5, None, ["t"], {"t": 1})]
    assert await ada.told(*unreadable, b'{"headers": "txid", "type": "message", "key": "a"}') == []
    assert await DeadLetter.objects.acount() == 8
    assert ada.client.state == before
    await ada.end()


async def test_a_transaction_of_what_was_not_asked_for_is_told(
    make_user: Any, as_user: Any, configure: Callable[..., None]
) -> None:
    """By an item that changes nothing, however the change ended; for hidden types none."""
    configure(FEED_POLL_SECONDS=0.05)
    user = await sync_to_async(make_user)("app.view_message", "app.view_setting")
    ada = await reader(
        as_user(user), with_txid("message/a", "t0", text="one"), query="?type=setting"
    )
    assert ada.client.state == {}
    assert await ada.told(with_txid("message/a", "t1", text="two")) == ["t1"]
    assert await ada.told(with_txid("message/a", "t2", text="x" * 50)) == ["t2"]
    assert await ada.told(with_txid("message/a", "t3", "delete")) == ["t3"]
    assert await ada.told(with_txid("message/none", "t4", "delete")) == ["t4"]
    assert await ada.told(with_txid("score/s", "hidden", points=5)) == []
    assert await ada.told(
        with_txid("message/a", "t5", text="two"), with_txid("setting/other", "t6", x=1)
    ) == ["t5", "t6"]
    assert ada.client.state == {("setting", "other"): {"x": 1}}
    await ada.end()


async def test_of_narrowed_rows_that_were_not_asked_for_only_those_seen(
    as_user: Any, configure: Callable[..., None]
) -> None:
    """If the policy shows the row, or showed it before."""
    configure(FEED_POLL_SECONDS=0.05, POLICY=f"{__name__}.PopularMessages")
    first = [
        with_txid("message/in", "t0", text="seen", likes=20),
        with_txid("message/out", "t0", text="hidden", likes=1),
    ]
    ada = await reader(as_user(None), *first, query="?type=setting")
    assert await ada.told(with_txid("message/out", "hidden1", text="x" * 50)) == []
    assert await ada.told(with_txid("message/in", "t1", text="x" * 50)) == ["t1"]
    assert await ada.told(with_txid("message/in", "t2", "delete")) == ["t2"]
    assert await ada.told(with_txid("message/in", "hidden2", text="hidden", likes=1)) == []
    assert await ada.told(change("message", "out", text="enters", likes=40)) == []
    assert await ada.told(with_txid("message/out", "t3", "delete")) == ["t3"]
    assert ada.client.state == {}
    assert "hidden" not in repr(ada.client.frames)
    await ada.end()


async def test_where_rows_are_narrowed_only_those_that_are_or_were_seen(
    as_user: Any, configure: Callable[..., None]
) -> None:
    """A hidden row's changes are not reported, including refused ones and deletes."""
    configure(FEED_POLL_SECONDS=0.05, POLICY=f"{__name__}.PopularMessages")
    first = [
        with_txid("message/in", "t0", text="seen", likes=20),
        with_txid("message/out", "t0", text="hidden", likes=1),
    ]
    ada = await reader(as_user(None), *first)
    assert await ada.told(
        with_txid("message/out", "hidden1", text="hidden", likes=2),
        with_txid("message/in", "t1", text="seen", likes=21),
    ) == ["t1"]
    assert await ada.told(with_txid("message/out", "hidden2", text="x" * 50)) == []
    assert await ada.told(with_txid("message/in", "t2", text="x" * 50)) == ["t2"]
    assert await ada.told(with_txid("message/in", "t3", text="leaves", likes=3)) == ["t3"]
    assert await ada.told(with_txid("message/in", "hidden3", text="gone", likes=4)) == []
    assert await ada.told(with_txid("message/out", "t4", text="enters", likes=40)) == ["t4"]
    assert await ada.told(with_txid("message/out", "t5", "delete")) == ["t5"]
    assert await ada.told(with_txid("message/in", "hidden4", "delete")) == []
    assert "hidden" not in repr(ada.client.frames)
    assert ada.client.state == {}
    await ada.end()


async def test_a_commit_that_asks_for_a_snapshot_tells_its_transactions(
    make_user: Any, as_user: Any, configure: Callable[..., None]
) -> None:
    """They come before the snapshot, and a client that resumes in between gets both."""
    configure(FEED_POLL_SECONDS=0.05, FEED_ENTRY_ROWS=2)
    user = await sync_to_async(make_user)("app.view_message")
    ada = await reader(as_user(user), with_txid("message/a", "t0", text="one"))
    many = [with_txid(f"message/{number}", f"t{number}", text="x") for number in range(1, 5)]
    assert await ada.told(*many, with_txid("setting/s", "hidden", x=1)) == ["t1", "t2", "t3", "t4"]
    assert ada.client.snapshots == 2
    assert len(ada.client.state) == 5
    assert "hidden" not in repr(ada.client.frames)
    await ada.end()


@pytest.mark.parametrize("entry_rows", [1000, 2])
async def test_very_many_transactions_come_in_pieces_that_clients_take(
    make_user: Any, as_user: Any, configure: Callable[..., None], entry_rows: int
) -> None:
    """Many clients close a socket at a frame of more than one MiB."""
    configure(FEED_POLL_SECONDS=0.05, FEED_ENTRY_ROWS=entry_rows)
    user = await sync_to_async(make_user)("app.view_message")
    ada = await reader(as_user(user), with_txid("message/a", "t0", text="one"))
    many = [
        with_txid(f"message/{number % 3}", f"{number:04d}" + "x" * 900, text=f"{number}")
        for number in range(1500)
    ]
    assert await ada.told(*many) == [each["headers"]["txid"] for each in many]
    assert max(len(json.dumps(frame)) for frame in ada.client.frames) < 600_000
    assert {key for _, key in ada.client.state} == {"a", "0", "1", "2"}
    await ada.end()
