"""Reading the feed without waiting: snapshots in pages, then what each commit changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db.models import QuerySet
from django.test import AsyncClient
from django.utils import timezone

from durable_state import StatePolicy
from durable_state.models import FeedEntry, HeldRows, Status, Stream
from durable_state.rest.feed import reading
from durable_state.rest.feed.offset import Offset
from durable_state.testing import apply
from tests.app.models import Message
from tests.feed.support.commits import commit, make_stream, message, shown
from tests.feed.support.pages import set_page_rows
from tests.wire import END, START, change

from .support.reader import FEED, Reader, client_of

pytestmark = pytest.mark.django_db(transaction=True)

make = sync_to_async(make_stream)
write = sync_to_async(commit)
tables = sync_to_async(shown)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of three rows."""
    set_page_rows(monkeypatch, 3)


class Popular(StatePolicy):
    """Shows the messages with more than ten likes, and nothing else."""

    def streams(self, user: Any) -> QuerySet[Stream]:
        """All of them."""
        return Stream.objects.all()

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """By model."""
        return queryset.filter(likes__gt=10) if queryset.model is Message else queryset.none()


async def reader(make_user: Any, **query: Any) -> Reader:
    """A user who may see everything."""
    user = await sync_to_async(make_user)(superuser=True)
    return Reader(await client_of(user), **query)


async def test_a_snapshot_in_pages_then_changes(make_user: Any, small_pages: None) -> None:
    """Commits while the pages are read are not lost, including deletions; offsets grow."""
    stream = await make()
    await write(stream, {("message", f"m{n}"): message("x") for n in range(8)})
    await write(stream, {("setting", "s"): {"a": 1}})
    ada = await reader(make_user)
    first = await ada.get()
    assert first.status_code == 200
    assert "Stream-Up-To-Date" not in first
    assert {item["headers"]["operation"] for item in ada.items} == {"insert"}
    assert len(ada.items) == 3
    await write(stream, {("message", "m0"): None, ("message", "m7"): message("late")})
    await write(stream, {("message", "m9"): message("new")})
    await ada.catch_up()
    assert ada.state == await tables(stream)
    await write(stream, {("message", "m1"): None})
    await ada.catch_up()
    assert ada.state == await tables(stream)
    assert ada.offsets == sorted(ada.offsets)
    assert not any(set(offset) & set(",&=?/ ") for offset in ada.offsets)


async def test_now_starts_at_the_end(make_user: Any) -> None:
    """Nothing, and the same offset as from HEAD; later changes follow it."""
    stream = await make()
    await write(stream, {("message", "a"): message("x")})
    ada = await reader(make_user)
    response = await ada.get(offset="now")
    assert (response.content, response["Stream-Up-To-Date"]) == (b"[]", "true")
    assert response["Cache-Control"] == "no-store"
    assert "ETag" not in response
    head = await ada.client.head(FEED)
    assert (head["Stream-Next-Offset"], head["Cache-Control"]) == (ada.offset, "no-store")
    assert (head.content, head["Content-Type"]) == (b"", "application/json")
    await write(stream, {("message", "b"): message("y")})
    await ada.catch_up()
    assert set(ada.state) == {("message", "b")}


async def test_a_switch_is_told_as_its_difference(
    make_user: Any, configure: Callable[..., None], small_pages: None
) -> None:
    """Even one of more rows than are listed: deletions, then all current rows."""
    configure(FEED_ENTRY_ROWS=2)
    many = [change("message", f"m{n}", text="x") for n in range(9)]
    await sync_to_async(apply)("chat", many)
    ada = await reader(make_user)
    await ada.catch_up()
    assert len(ada.state) == 9
    dump = [change("message", f"m{n}", text="y", headers={"txid": f"t{n}"}) for n in range(3, 12)]
    await sync_to_async(apply)("chat", [START, *dump, END])
    assert await FeedEntry.objects.filter(snapshot=True).acount() == 2
    await ada.catch_up()
    assert ada.state == await tables(await Stream.objects.aget())
    assert len(ada.state) == 9


async def test_where_the_deleted_are_not_known_the_offset_is_gone(make_user: Any) -> None:
    """410, as for an offset that was pruned, a restored database's, and another feed's."""
    stream = await make()
    await write(stream, {("message", "a"): message("x")})
    ada = await reader(make_user)
    await ada.catch_up()
    await write(stream, {("message", "a"): None}, snapshot=True)
    gone = await ada.get()
    assert gone.status_code == 410
    assert "offset=-1" in gone.json()["detail"]

    ada.offset = "-1"
    await ada.catch_up()
    known = ada.offset
    assert (await ada.get(type="message")).status_code == 410
    await write(stream, {("message", "b"): message("x")})
    ada.offset = known
    await FeedEntry.objects.filter(revision=2).aupdate(created_at=timezone.now())
    assert (await ada.get(offset=known)).status_code == 410

    await ada.get(offset="-1")
    known = ada.offset
    for _ in range(2):
        await write(stream, {("message", "c"): message("x")})
    await FeedEntry.objects.filter(revision__lte=4).adelete()
    assert (await ada.get(offset=known)).status_code == 410


async def test_a_restored_database_continues_no_offset_of_its_former_future(
    make_user: Any,
) -> None:
    """Not even one of the current revision, if its entry was pruned."""
    stream = await make()
    await write(stream, {("message", "a"): message("x")})
    ada = await reader(make_user)
    await ada.catch_up()
    await write(stream, {("message", "b"): message("x")})
    await ada.catch_up()
    later = ada.offset
    await FeedEntry.objects.filter(revision=2).adelete()
    await Stream.objects.aupdate(revision=1)
    assert (await ada.get(offset=later)).status_code == 410
    await write(stream, {("message", "b"): None})
    await FeedEntry.objects.all().adelete()
    assert (await ada.get(offset=later)).status_code == 410


async def test_what_is_wrong_is_said(make_user: Any) -> None:
    """400 for offsets and modes, 401 or 403 for anonymous users, 404 for an unknown stream, 405
    for writing.
    """
    await make()
    ada = await reader(make_user)
    for query in (
        "offset=",
        "offset=1&offset=2",
        "offset=a,b",
        "offset=../x",
        "offset=1_2",
        "offset=0%00",
        "live=sse",
        "live=long-poll",
        "live=maybe&offset=-1",
    ):
        response: Any = await ada.client.get(f"{FEED}?{query}")
        assert response.status_code == 400, query
        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["Cache-Control"] == "no-store"
    assert (await ada.client.get(FEED.replace("chat", "none"))).status_code == 404
    assert (await ada.client.post(FEED)).status_code in (403, 405)
    assert (await ada.client.put(FEED)).status_code in (403, 405)
    assert (await AsyncClient().get(FEED)).status_code in (401, 403)
    assert (await AsyncClient().get(f"{FEED}?offset=-1&live=sse")).status_code in (401, 403)


async def test_caches_keep_it_for_its_reader_alone(make_user: Any) -> None:
    """An ETag for the answer and its user; 304 for whoever has it; never for another user."""
    stream = await make()
    await write(stream, {("message", "a"): message("x")})
    ada = await reader(make_user)
    first = await ada.get(offset="-1")
    assert first["Cache-Control"] == "private, no-cache"
    assert {"Cookie", "Authorization"} <= set(first["Vary"].split(", "))
    again: Any = await ada.client.get(FEED, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again["ETag"] == first["ETag"]
    bob = await client_of(await sync_to_async(make_user)(superuser=True, name="bob"))
    other: Any = await bob.get(FEED, headers={"If-None-Match": first["ETag"]})
    assert other.status_code == 200
    await write(stream, {("message", "a"): message("y")})
    changed: Any = await ada.client.get(FEED, headers={"If-None-Match": first["ETag"]})
    assert changed.status_code == 200


async def test_a_closed_stream_ends(make_user: Any) -> None:
    """Once its reader has everything; the ETag differs."""
    stream = await make()
    await write(stream, {("message", "a"): message("x")})
    ada = await reader(make_user)
    first = await ada.get(offset="-1")
    assert "Stream-Closed" not in first
    await Stream.objects.aupdate(status=Status.CLOSED)
    end = await ada.get()
    assert (end["Stream-Closed"], end.content) == ("true", b"[]")
    closed = await ada.get(offset="-1")
    assert closed["Stream-Closed"] == "true"
    assert closed["ETag"] != first["ETag"]
    assert (await ada.client.head(FEED))["Stream-Closed"] == "true"


async def test_a_part_of_a_closed_stream_is_not_its_end(make_user: Any, small_pages: None) -> None:
    """Only the last page tells that it is closed, and that nothing more is there."""
    stream = await make()
    await write(stream, {("message", f"m{n}"): message("x") for n in range(8)})
    await Stream.objects.aupdate(status=Status.CLOSED)
    ada = await reader(make_user)
    answers = [await ada.get()]
    while "Stream-Closed" not in answers[-1]:
        assert "Stream-Up-To-Date" not in answers[-1]
        answers.append(await ada.get())
    assert len(answers) >= 3
    assert "Stream-Up-To-Date" in answers[-1]
    assert len(ada.state) == 8


async def test_every_answer_has_the_headers_that_browsers_need(make_user: Any) -> None:
    """Refusals and 304 too."""
    await make()
    ada = await reader(make_user)
    tag = (await ada.get())["ETag"]
    answers: list[Any] = [
        await ada.client.get(FEED),
        await ada.client.get(FEED, headers={"If-None-Match": tag}),
        await ada.client.get(f"{FEED}?offset=now"),
        await ada.client.head(FEED),
        await ada.client.get(f"{FEED}?offset=!"),
        await ada.client.get(FEED.replace("chat", "none")),
        await ada.client.put(FEED),
        await AsyncClient().get(FEED),
    ]
    assert [each.status_code for each in answers[:6]] == [200, 304, 200, 200, 400, 404]
    for each in answers:
        assert each["X-Content-Type-Options"] == "nosniff"
        assert each["Cross-Origin-Resource-Policy"] == "same-origin"
        is_kept = "ETag" in each
        assert each["Cache-Control"] == ("private, no-cache" if is_kept else "no-store")


async def test_types_and_keys(make_user: Any) -> None:
    """Only the requested ones, in snapshot and changes; still each transaction."""
    stream = await make()
    await write(
        stream, {("message", "a"): message("x"), ("message", "b"): message("x")}, txids=["t0"]
    )
    ada = await reader(make_user, type="message", key="a")
    await ada.catch_up()
    assert set(ada.state) == {("message", "a")}
    await write(stream, {("setting", "s"): [1]}, txids=["t1"])
    await write(stream, {("message", "b"): message("y")}, txids=["t2", "t3"])
    await write(stream, {("message", "a"): message("y")}, txids=["t4"])
    assert sorted(await ada.catch_up()) == ["t1", "t2", "t3", "t4"]
    assert ada.state == {("message", "a"): message("y")}


async def test_every_transaction_has_an_item_of_its_own(make_user: Any) -> None:
    """As the reference client reads them, however they ended."""

    def told(key: str, txid: Any, operation: str = "upsert", **fields: Any) -> Any:
        return change("message", key, operation, headers={"txid": txid}, **fields)

    await sync_to_async(apply)("chat", [told("a", "t0", text="one")])
    ada = await reader(make_user)
    await ada.catch_up()
    await sync_to_async(apply)(
        "chat",
        [
            told("a", "compacted", text="two"),
            told("a", "refused", text="x" * 50),
            told("a", "t1", text="three"),
            told("new", "insert", text="x"),
            told("new", "delete", "delete"),
            told("none", 7, "delete"),
        ],
    )
    assert set(await ada.catch_up()) == {"compacted", "refused", "t1", "insert", "delete", "7"}
    await sync_to_async(apply)("chat", [told("a", "equal", text="three")])
    assert await ada.catch_up() == ["equal"]
    assert ada.state == await tables(await Stream.objects.aget())


async def test_a_narrowed_reader_is_told_what_leaves_and_nothing_hidden(
    make_user: Any,
    configure: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    small_pages: None,
) -> None:
    """Across requests: rows that leave arrive as deletes, with a commit and without."""
    configure(POLICY=f"{__name__}.Popular")
    stream = await make()
    hidden = {("message", f"hidden{n}"): message("x", 1) for n in range(5)}
    await write(stream, hidden | {("message", f"m{n}"): message("x", 20) for n in range(8)})
    ada = await reader(make_user)
    await ada.get()
    await write(stream, {("message", "m0"): message("left", 1)})
    await ada.catch_up()
    assert set(ada.state) == {("message", f"m{n}") for n in range(1, 8)}

    lost = ada.offset
    for number in range(12):
        await write(stream, {("message", f"n{number}"): message("x", 20)}, txids=[f"t{number}"])
        assert await ada.catch_up() == [f"t{number}"]
    await write(stream, {("message", "n3"): None, ("message", "hidden1"): None}, txids=["gone"])
    assert await ada.catch_up() == ["gone"]
    assert len(ada.state) == 18
    # A lost answer is asked for again.
    ada.offset = lost
    ada.state = {name: value for name, value in ada.state.items() if name[1].startswith("m")}
    await ada.catch_up()
    assert len(ada.state) == 18

    await Message.objects.filter(key__in=["m1", "n1"]).aupdate(likes=1)
    await Message.objects.filter(key="hidden2").aupdate(likes=50)
    monkeypatch.setattr(reading, "_minute", lambda: 2**31)
    await ada.catch_up()
    assert {key for _, key in ada.state} == (
        {f"m{n}" for n in range(2, 8)}
        | {f"n{n}" for n in range(12) if n not in (1, 3)}
        | {"hidden2"}
    )
    assert ("message", "hidden0") not in ada.mentioned
    assert ("message", "hidden1") not in ada.mentioned

    await HeldRows.objects.all().adelete()
    assert (await ada.get()).status_code == 410


async def test_a_narrowed_reader_is_told_the_difference_of_a_large_switch(
    make_user: Any, configure: Callable[..., None], small_pages: None
) -> None:
    """Including rows that still exist but are no longer visible."""
    configure(POLICY=f"{__name__}.Popular", FEED_ENTRY_ROWS=2)
    rows = [change("message", f"m{n}", text="x", likes=20) for n in range(7)]
    await sync_to_async(apply)("chat", [*rows, change("message", "low", text="x", likes=1)])
    ada = await reader(make_user)
    await ada.catch_up()
    dump = [change("message", f"m{n}", text="y", likes=20 if n > 3 else 1) for n in range(1, 9)]
    await sync_to_async(apply)("chat", [START, *dump, END])
    await ada.catch_up()
    await ada.catch_up()
    assert {key for _, key in ada.state} == {f"m{n}" for n in range(4, 9)}
    assert ("message", "low") not in ada.mentioned


async def test_of_narrowed_rows_that_were_not_asked_for_the_seen_ones_transactions(
    make_user: Any, configure: Callable[..., None]
) -> None:
    """Across requests, even of a deleted row."""
    configure(POLICY=f"{__name__}.Popular")
    stream = await make()
    await write(stream, {("message", "in"): message("x", 20), ("message", "out"): message("x", 1)})
    ada = await reader(make_user, type="setting")
    await ada.catch_up()
    await write(stream, {("message", "in"): message("y", 20)}, txids=["t1"])
    assert await ada.catch_up() == ["t1"]
    await write(stream, {("message", "in"): None}, txids=["t2"])
    await write(stream, {("message", "out"): message("y", 1)}, txids=["hidden"])
    assert await ada.catch_up() == ["t2"]
    assert ada.state == {}


async def test_what_another_reader_holds_is_of_no_use(
    make_user: Any, configure: Callable[..., None]
) -> None:
    """An offset that names it answers 410."""
    configure(POLICY=f"{__name__}.Popular")
    stream = await make()
    await write(stream, {("message", "a"): message("x", 20)})
    ada = await reader(make_user)
    await ada.catch_up()
    bob = Reader(await client_of(await sync_to_async(make_user)(name="bob")))
    await bob.catch_up()
    assert (await bob.get()).status_code == 200
    theirs, own = Offset.parse(ada.offset), Offset.parse(bob.offset)
    assert theirs is not None
    assert own is not None
    assert theirs.held != own.held
    assert (await bob.get(offset=str(own._replace(held=theirs.held)))).status_code == 410


def test_wsgi_reads_and_says_what_live_needs(make_user: Any, client: Any) -> None:
    """501 with what to do."""
    make_stream()
    client.force_login(make_user(superuser=True))
    assert client.get(FEED).content == b"[]"
    response = client.get(f"{FEED}?offset=-1&live=sse")
    assert response.status_code == 501
    assert "ASGI" in response.json()["detail"]
