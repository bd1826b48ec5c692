"""Many streams over one socket."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from durable_state.feed import ClientGone
from durable_state.feed.frames import Frame
from durable_state.models import Stream
from durable_state.websocket import heart, places
from durable_state.websocket.caller import Caller
from durable_state.websocket.client_message import Subscribe
from durable_state.websocket.subscription import Subscription
from tests.feed.support.commits import commit, commit_and_ring, make_stream, message

from .support.many import ManyStreams
from .support.socket import Socket

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def root(make_user: Any) -> Any:
    return make_user(superuser=True)


@pytest.fixture
def streams(transactional_db: None) -> list[Stream]:
    found = [make_stream("one"), make_stream("two")]
    for stream in found:
        commit(stream, {("setting", "first"): 0})
    return found


async def opened(application: Any, **details: Any) -> ManyStreams:
    socket = ManyStreams(application, **details)
    assert await socket.connect() is None
    return socket


async def test_frames_name_their_subscription(
    root: Any, as_user: Any, streams: list[Stream]
) -> None:
    """Each is named as the client chooses, or like its stream; each is followed by itself, and
    resumes with its own offset.
    """
    one, two = streams
    await commit_and_ring(one, {("message", "a"): message("x"), ("setting", "s"): 1})
    socket = await opened(as_user(root))
    await socket.ask(subscribe="one")
    await socket.ask(subscribe="two", id='odd "id"\n')
    await socket.ask(subscribe="one", id="some", types=["setting", "message"], keys=["s", "b"])
    await socket.until_live("one", 'odd "id"\n', "some")
    assert socket.told[0] == {"heartbeat": heart.HEARTBEAT_SECONDS}
    assert set(socket.clients["one"].state) == {
        ("message", "a"),
        ("setting", "s"),
        ("setting", "first"),
    }
    assert set(socket.clients["some"].state) == {("setting", "s")}

    await commit_and_ring(one, {("message", "b"): message("y")})
    await commit_and_ring(two, {("setting", "t"): 2})
    await socket.until(lambda self: ("message", "b") in self.clients["some"].state)
    await socket.until(lambda self: ("setting", "t") in self.clients['odd "id"\n'].state)
    await socket.until(lambda self: ("message", "b") in self.clients["one"].state)

    offset = socket.clients["one"].offset
    await socket.ask(unsubscribe="one")
    await socket.until(lambda self: self.closed == {"one": 1000})
    await commit_and_ring(one, {("message", "a"): None})
    client = socket.clients["one"]
    client.up_to_date = False
    await socket.ask(subscribe="one", offset=offset)
    await socket.until_live("one")
    await socket.disconnect()
    assert (client.snapshots, set(client.state)) == (
        1,
        {("message", "b"), ("setting", "s"), ("setting", "first")},
    )


async def test_one_that_ends_takes_no_other_with_it(
    make_user: Any, as_user: Any, streams: list[Stream], configure: Callable[..., None]
) -> None:
    """A stream that may not be read, does not exist, or is removed is reported by its code."""
    configure(FEED_POLL_SECONDS=0.05)
    user = await sync_to_async(make_user)("app.view_message")
    socket = await opened(as_user(user))
    for name in ("one", "two", "missing", "no name at all", "nul\0", "x" * 5000):
        await socket.ask(subscribe=name, id=name[:20])
    await socket.until_live("one", "two")
    await socket.until(lambda self: len(self.closed) == 4)
    assert set(socket.closed.values()) == {4404}
    await streams[0].adelete()
    await socket.until(lambda self: self.closed.get("one") == 4404)
    await commit_and_ring(streams[1], {("message", "a"): message("x")})
    await socket.until(lambda self: ("message", "a") in self.clients["two"].state)
    await socket.disconnect()


async def test_nobody_reads_what_only_others_may(
    make_user: Any, as_user: Any, streams: list[Stream]
) -> None:
    """Anonymous visitors do not learn which streams exist; the socket stays."""
    for who, codes in ((None, {4401}), (await sync_to_async(make_user)(), {4403, 4404})):
        socket = await opened(as_user(who))
        await socket.ask(subscribe="one")
        await socket.ask(subscribe="missing")
        await socket.until(lambda self: len(self.closed) == 2)
        assert set(socket.closed.values()) == codes
        await socket.ask(ping="still there?")
        assert await socket.read() == {"pong": "still there?"}
        await socket.disconnect()
        assert not socket.clients


async def test_ten_thousand_subscriptions(
    root: Any, as_user: Any, streams: list[Stream], configure: Callable[..., None]
) -> None:
    """Subscriptions beyond the socket's limit, or the user's, are refused one by one; the others
    continue.
    """
    configure(FEED_SOCKET_SUBSCRIPTIONS=3, FEED_USER_SUBSCRIPTIONS=6)
    socket = await opened(as_user(root))
    for number in range(10_000):
        await socket.ask(subscribe="one", id=str(number))
    await socket.until_live("0", "1", "2")
    await socket.until(lambda self: len(self.closed) == 9_997)
    assert set(socket.closed.values()) == {4429}
    second = await opened(as_user(root))
    await second.ask(subscribe="two", id="a")
    await second.until_live("a")
    await second.ask(subscribe="two", id="b")
    await second.until(lambda self: self.closed == {"b": 4429})
    assert await (await opened(as_user(root))).close_code() == 4429
    await socket.ask(unsubscribe="0")
    await socket.until(lambda self: self.closed.get("0") == 1000)
    await second.ask(subscribe="two", id="b")
    await second.until_live("b")
    await socket.disconnect()
    await second.disconnect()
    assert not places._taken


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ({"text": "subscribe"}, "JSON object"),
        ({"text": "[" * 60_000}, "JSON object"),
        ({"text": "[]"}, '"subscribe"'),
        ({"text": "{}"}, '"subscribe"'),
        ({"text": '{"subscribe":"one","unsubscribe":"one"}'}, '"subscribe"'),
        ({"text": '{"subscribe":"one","type":["a"]}'}, "unknown field `type`"),
        ({"text": '{"subscribe":"one","types":"a"}'}, "Expected `array`"),
        ({"text": '{"subscribe":"one","keys":[1]}'}, "Expected `str`"),
        ({"text": '{"subscribe":""}'}, "length >= 1"),
        ({"text": '{"subscribe":"one","id":"' + "i" * 101 + '"}'}, "length <= 100"),
        ({"text": '{"unsubscribe":1}'}, "Expected `str`"),
        ({"text": '{"ping":{}}'}, "ping"),
        ({"bytes": b"\0"}, "text frames"),
    ],
)
async def test_a_frame_that_is_not_understood(
    frame: Any, says: str, root: Any, as_user: Any, streams: list[Stream]
) -> None:
    """The answer says what is wrong, and nothing is subscribed."""
    socket = await opened(as_user(root))
    await socket.read()
    await socket.send_frame(**frame)
    error = (await socket.read())["error"]
    assert says in error
    assert len(error) <= 500
    await socket.ask(ping=1)
    assert await socket.read() == {"pong": 1}
    await socket.disconnect()


async def test_a_mistake_names_the_subscription_that_it_would_have_begun(
    root: Any, as_user: Any, streams: list[Stream]
) -> None:
    """So that its client learns which of them will not come; never for one that continues."""
    socket = await opened(as_user(root))
    await socket.ask(subscribe="one")
    await socket.until_live("one")
    for name, told in (("two", {"id": "two"}), ("one", {}), (1, {}), ("x" * 101, {})):
        await socket.ask(subscribe="two", id=name, keys=["k"] * 1001)
        frame = await socket.read()
        assert "error" in frame
        assert {key: value for key, value in frame.items() if key != "error"} == told
    await socket.disconnect()


async def test_ending_what_has_ended_is_no_mistake(root: Any, as_user: Any) -> None:
    """A client cannot know that a subscription has just ended, so it is answered as usual."""
    socket = await opened(as_user(root))
    await socket.read()
    for _ in range(25):
        await socket.ask(unsubscribe="gone")
        assert (await socket.read())["closed"] == 1000
    await socket.disconnect()


async def test_who_asks_nonsense_for_ever_is_closed(root: Any, as_user: Any) -> None:
    """After twenty mistakes."""
    socket = await opened(as_user(root))
    for _ in range(25):
        await socket.send_frame(text="?")
    assert await socket.close_code() == 1008


@pytest.mark.parametrize("frame", [{"text": "x" * 70_000}, {"bytes": b"x" * 70_000}])
async def test_a_frame_that_is_too_large(frame: Any, root: Any, as_user: Any) -> None:
    """It closes the socket at once, and is not decoded."""
    socket = await opened(as_user(root))
    await socket.send_frame(**frame)
    assert await socket.close_code() == 1009


async def test_an_id_that_is_taken(root: Any, as_user: Any, streams: list[Stream]) -> None:
    """The first subscription of that name continues."""
    socket = await opened(as_user(root))
    await socket.ask(subscribe="one")
    await socket.ask(subscribe="two", id="one")
    await socket.until(lambda self: any("error" in each for each in self.told))
    assert "subscribed already" in socket.told[-1]["error"]
    await socket.until_live("one")
    await socket.disconnect()
    assert not socket.closed


async def test_quiet_sockets_are_heard(
    root: Any, as_user: Any, streams: list[Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For many streams the interval is announced; for one, a frame without items comes, at the
    same position.
    """
    monkeypatch.setattr(heart, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(heart, "HEARTBEAT_SECONDS", 0.1)
    many = await opened(as_user(root))
    await many.until(lambda self: len(self.told) >= 3)
    assert all(set(each) == {"heartbeat"} for each in many.told)
    one = Socket(as_user(root), "/ws/state/one/")
    await one.connect()
    frames: list[Any] = []
    while not (frames and frames[-1]["upToDate"]):
        frames.append(json.loads(await one.receive_text()))
    for _ in range(2):
        beat = json.loads(await one.receive_text())
        assert beat == {"items": [], "offset": frames[-1]["offset"], "upToDate": True}
    await one.disconnect()
    await many.disconnect()


async def test_leaving_ends_every_task(root: Any, as_user: Any, streams: list[Stream]) -> None:
    """And gives back every place."""
    before = asyncio.all_tasks()
    sockets = [await opened(as_user(root)) for _ in range(3)]
    for socket in sockets:
        await socket.ask(subscribe="one")
        await socket.ask(subscribe="two")
        await socket.until_live("one", "two")
        await socket.disconnect()
    await asyncio.sleep(0.05)
    assert asyncio.all_tasks() == before
    assert not places._taken


async def test_a_client_that_is_gone_when_it_would_be_told_is_no_error(
    root: Any, streams: list[Stream]
) -> None:
    """Whatever ends its subscriptions: asyncio has nothing left to complain about."""
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    done = asyncio.Event()

    async def send(frame: Frame) -> None:
        raise OSError

    async def ended(code: int) -> None:
        done.set()
        raise ClientGone("The client has left.")

    caller = Caller({}, root, None, has_token=False)
    for name in ("one", "missing"):
        done.clear()
        subscription = Subscription(caller, Subscribe(subscribe=name), send, ended)
        async with asyncio.timeout(5):
            await done.wait()
        del subscription
    gc.collect()
    assert not told
