"""StreamDB, MaterializedState and stream() read Django as they read a stream server, unchanged."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User

from durable_state.consumer import sync
from durable_state.models import Stream
from durable_state.testing import apply
from tests.app.models import Room
from tests.consumer.support.remote import RemoteStream
from tests.rest.feed.support.reader import FEED
from tests.rest.feed.support.server import serving
from tests.servers.process import StreamServer
from tests.wire import END, START, change

from .support.official_clients import OfficialClients, official_clients

pytestmark = pytest.mark.django_db(transaction=True)

CREDENTIALS = base64.b64encode(b"ada:secret").decode()
HEADERS = {"Authorization": f"Basic {CREDENTIALS}"}
MODES = [True, "long-poll", "sse"]


@pytest.fixture
def feed(configure: Callable[..., None], transactional_db: None) -> Iterator[str]:
    """The URL of the feed, served by uvicorn; ada reads it, with her password."""
    configure(FEED_POLL_SECONDS=0.02)
    User.objects.create_user("ada", password="secret", is_superuser=True)
    Stream.objects.create(name="chat", url="http://127.0.0.1:1/chat")
    with serving() as address:
        yield f"{address}{FEED}"


@pytest.fixture(scope="module")
def clients() -> Iterator[OfficialClients]:
    """The official clients."""
    with official_clients() as opened:
        yield opened


def told(entity: str, txid: Any, operation: str = "upsert", **fields: Any) -> Any:
    """A change, for instance of "message/a", with its transaction."""
    entity_type, _, key = entity.partition("/")
    return change(entity_type, key, operation, headers={"txid": txid}, **fields)


def message(text: str, likes: int | None = None) -> dict[str, Any]:
    """What a message shows."""
    return {"text": text, "likes": likes, "isEdited": False}


@pytest.mark.parametrize("live", MODES)
@pytest.mark.parametrize("kind", ["db", "materialized"])
def test_every_mode(feed: str, clients: OfficialClients, kind: str, live: Any) -> None:
    """A snapshot of many pages, changes, a switch; every transaction arrives, however it ended."""
    Room.objects.create(title="chat", stream=Stream.objects.get())
    many = [told(f"message/{n:04}", "t0", text=f"{n}", likes=n) for n in range(1200)]
    apply("chat", [*many, told("person/a", "t0", email="a@x", boss=None)])
    clients.open("django", kind, feed, live, headers=HEADERS)
    held = clients.entities("django")
    assert len([name for name in held if name[0] == "message"]) == 1200
    assert held["message", "0007"] == message("7", 7)

    apply(
        "chat", [told("message/0007", "applied", text="x"), told("message/0008", "gone", "delete")]
    )
    apply("chat", [told("message/0007", "refused", text="x" * 50)])
    apply("chat", [told("message/0007", "equal", text="x")])
    apply("chat", [told("person/b", "parked", email="a@x", boss=None)])
    apply("chat", [told("message/none", "never there", "delete")])
    apply("chat", [told("message/new", "compacted", text="y"), told("message/new", 12, "delete")])
    txids = ["applied", "gone", "refused", "equal", "parked", "never there", "compacted", "12"]
    assert clients.missing("django", txids) == []

    dump = [told(f"message/{n:04}", "switch", text="z", likes=n) for n in range(5, 15)]
    apply("chat", [START, *dump, END])
    assert clients.missing("django", ["switch"]) == []
    held = clients.entities("django")
    assert held == {("message", f"{n:04}"): message("z", n) for n in range(5, 15)}
    clients.close("django")


def test_a_filtered_reader_gets_every_transaction(feed: str, clients: OfficialClients) -> None:
    """Also those of types and entities that it did not ask for; it gets only the rows that it
    asked for.
    """
    apply("chat", [told("message/a", "t0", text="x"), told("setting/s", "t0", a=1)])
    for name, params in {"typed": {"type": "setting"}, "keyed": {"key": "a"}}.items():
        clients.open(name, "db", feed, "sse", headers=HEADERS, params=params)
    apply("chat", [told("message/a", "t1", text="y")])
    apply("chat", [told("setting/s", "t2", a=2), told("message/b", "t3", text="z" * 50)])
    for name in ("typed", "keyed"):
        assert clients.missing(name, ["t1", "t2", "t3"]) == []
    assert clients.entities("typed") == {("setting", "s"): {"a": 2}}
    assert clients.entities("keyed") == {("message", "a"): message("y")}
    for name in ("typed", "keyed"):
        clients.close(name)


@pytest.mark.parametrize("seed", range(3))
def test_it_equals_the_stream_itself(
    feed: str, clients: OfficialClients, reference_server: StreamServer, seed: int
) -> None:
    """Remote stream → Django → StreamDB has the same mapped fields as remote stream → StreamDB."""
    dice = random.Random(seed)
    remote = RemoteStream(reference_server.stream())
    stream = Stream.objects.get()
    Stream.objects.update(url=remote.url)
    stream.refresh_from_db()
    remote.append([random_change(dice, "first")])
    sync(stream, until_up_to_date=True)
    clients.open("direct", "db", remote.url, "sse")
    live = dice.choice(MODES)
    clients.open("django", "db", feed, live, headers=HEADERS)

    for number in range(6):
        size = dice.choice([1, 3, 60])
        remote.append([random_change(dice, f"t{number}") for _ in range(size)])
        sync(Stream.objects.get(), until_up_to_date=True)
        for name in ("direct", "django"):
            assert clients.missing(name, [f"t{number}"]) == []
        direct, django = (clients.entities(name) for name in ("direct", "django"))
        assert mapped(django) == mapped(direct)
    assert len(direct) > 3
    for name in ("direct", "django"):
        clients.close(name)


def random_change(dice: random.Random, txid: str) -> dict[str, Any]:
    """An accepted one, with values for all mapped fields."""
    entity_type = dice.choice(["message", "profile", "score", "author"])
    key = dice.choice(["1", "2", "3"] if entity_type == "score" else ["a", "B", "é\u2028", "7"])
    number = dice.randrange(1, 5)
    by_type: dict[str, dict[str, Any]] = {
        "message": {"text": dice.choice(["x", "é\u2028", ""]), "likes": number, "isEdited": True},
        "profile": {"name": dice.choice(["Ada", "Bob"]), "score": number},
        "score": {"points": number},
        "author": {"commits": number},
    }
    operation = dice.choice(["insert", "update", "upsert", "delete"])
    more = {"unmapped": number} if operation != "delete" else {}
    fields = by_type[entity_type] if operation != "delete" else {}
    return change(entity_type, key, operation, headers={"txid": txid}, **fields, **more)


def mapped(held: dict[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
    """The mapped fields, except the one that ``prepare`` makes."""
    return {
        name: {field: part for field, part in value.items() if field not in ("unmapped", "label")}
        for name, value in held.items()
    }
