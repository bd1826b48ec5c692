"""A subscriber that may see only some rows never learns of the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from asgiref.sync import sync_to_async

from durable_state.feed import AccessWithdrawn, Audience, narrowed_group, rendering, renewal
from tests.app.models import Message

from .support.commits import commit_and_ring, make_stream, message
from .support.following import everything, follow
from .support.narrowed import popular, seen
from .support.pages import set_page_rows

pytestmark = pytest.mark.django_db(transaction=True)
every_database = pytest.mark.django_db(transaction=True, databases="__all__")


@every_database
@pytest.mark.parametrize("value_rows", [100, 0])
async def test_a_row_that_leaves_is_deleted_and_a_hidden_one_never_mentioned(
    database: str, value_rows: int, configure: Callable[..., None]
) -> None:
    """Entering is an update, leaving a delete; a row that was never shown is not named, not even
    when it is deleted.
    """
    configure(FEED_VALUE_ROWS=value_rows)
    stream = await sync_to_async(make_stream)(using=database)
    await commit_and_ring(
        stream,
        {
            ("message", "in"): message("x", 20),
            ("message", "hidden"): message("x", 1),
            ("setting", "s"): 1,
        },
    )
    async with follow(stream, audience=lambda: popular(stream)) as follower:
        client = await follower.until_revision(1)
        await commit_and_ring(
            stream, {("message", "in"): message("y", 5), ("message", "hidden"): message("y", 2)}
        )
        await follower.until_revision(2)
        assert client.frames[-1]["items"] == [
            {"type": "message", "key": "in", "headers": {"operation": "delete"}}
        ]
        await commit_and_ring(
            stream,
            {
                ("message", "in"): message("z", 3),
                ("message", "new"): message("x", 11),
                ("setting", "s"): 2,
            },
        )
        await follower.until_revision(3)
        assert client.state == await sync_to_async(seen)(stream)
        await commit_and_ring(
            stream, {("message", "hidden"): None, ("message", "new"): None, ("message", "in"): None}
        )
        await follower.until_revision(4)
        assert client.state == await sync_to_async(seen)(stream) == {("setting", "s"): 2}
    assert ("message", "hidden") not in client.mentioned
    assert [item["key"] for item in client.frames[-1]["items"]] == ["new"]


async def test_narrowed_subscribers_do_not_resume() -> None:
    """What it was shown is forgotten when it leaves, so it gets a snapshot even if it missed
    nothing.
    """
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", "in"): message("x", 20)})
    async with follow(stream, audience=lambda: popular(stream)) as follower:
        client = await follower.until_revision(1)
    async with follow(
        stream, client.offset, client=client, audience=lambda: popular(stream)
    ) as follower:
        await follower.until(lambda client: client.snapshots == 2 and client.up_to_date)
    async with follow(stream, client.offset, client=client) as follower:
        await follower.until(lambda client: client.snapshots == 3 and client.up_to_date)


async def test_what_leaves_without_a_commit_goes_with_the_next_renewal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows that the application, or a lost membership, moved in or out are found by comparison."""
    monkeypatch.setattr(renewal, "RENEW_SECONDS", 0.2)
    monkeypatch.setattr(narrowed_group, "COMPARE_SECONDS", 0.0)
    set_page_rows(monkeypatch, 3)
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", f"in{n}"): message("x", 20) for n in range(8)})
    async with follow(stream, audience=lambda: popular(stream)) as follower:
        client = await follower.until_revision(1)
        await Message.objects.filter(key__in=["in1", "in2"]).aupdate(likes=0)
        await Message.objects.acreate(room=stream.name, key="late", text="x", likes=99)
        expected = await sync_to_async(seen)(stream)
        await follower.until(lambda client: client.state == expected)
        # Rows that came in this way are known as shown: a commit may remove them again.
        await commit_and_ring(stream, {("message", "late"): message("x", 0)})
        del expected["message", "late"]
        await follower.until(lambda client: client.state == expected)
        assert client.snapshots == 1
        assert client.up_to_date


async def test_permissions_that_change_while_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the renewal time, a wider or narrower view brings a snapshot of it, and a withdrawn
    stream ends the frames.
    """
    monkeypatch.setattr(renewal, "RENEW_SECONDS", 0.1)
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", "a"): message("x"), ("setting", "s"): 1})
    view: list[Audience | None] = [await sync_to_async(everything)(stream, ["message"])]
    async with follow(stream, audience=lambda: view[0]) as follower:
        client = await follower.until_revision(1)
        assert client.state == {("message", "a"): message("x")}
        view[0] = await sync_to_async(everything)(stream)
        await follower.until(lambda client: len(client.state) == 2 and client.up_to_date)
        assert client.snapshots == 2
        view[0] = None
        with pytest.raises(AccessWithdrawn):
            await follower.until(lambda client: False)


async def test_a_reader_of_whole_types_goes_on_beside_narrowed_ones() -> None:
    """The rows that it can see of the other types are listed in a thread, even if it begins by
    resuming.
    """
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("setting", "s"): 1})

    def settings_alone() -> Audience:
        messages, settings = popular(stream).sights.values()
        return Audience.of(stream, [settings], beside=[messages])

    async with follow(stream, audience=settings_alone) as follower:
        client = await follower.until_revision(1)
    async with follow(stream, client.offset, client=client, audience=settings_alone) as follower:
        await commit_and_ring(stream, {("setting", "s"): 2})
        await follower.until_revision(2)
    assert client.state == {("setting", "s"): 2}
    assert client.snapshots == 1


async def test_what_was_not_asked_for_is_remembered_within_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many rows it may see, and however many come; it is told what happens to them."""
    monkeypatch.setattr(rendering, "UNASKED_KEYS", 3)
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", f"m{n}"): message("x", 20) for n in range(10)})

    def settings_alone() -> Audience:
        messages, settings = popular(stream).sights.values()
        return Audience.of(stream, [settings], beside=[messages], name="one")

    async with follow(stream, audience=settings_alone) as follower:
        client = await follower.until_revision(1)
        (group,) = follower.hub.groups.values()
        for number in range(20):
            told = len(client.frames)
            change = {("message", f"m{number}"): message("y", 20)}
            revision = await commit_and_ring(stream, change, txids=[f"t{number}"])
            await follower.until_revision(revision)
            items = [item for frame in client.frames[told:] for item in frame["items"]]
            assert [item["headers"]["txid"] for item in items] == [f"t{number}"]
            assert len(group.rendering.list_unasked()["message"]) <= 3
    assert client.state == {}
