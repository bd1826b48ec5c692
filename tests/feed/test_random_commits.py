"""Random commits between subscribers that come, go, resume anywhere and filter: each ends with
the rows.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from durable_state.feed import Audience, prune
from durable_state.models import FeedEntry, Stream

from .support.client import Client
from .support.commits import commit, commit_and_ring, make_stream, message, shown
from .support.following import everything, follow
from .support.narrowed import popular, seen
from .support.pages import set_page_rows

SEEDS = [("default", 0), ("default", 1), ("default", 2), ("postgres", 3), ("mysql", 4)]

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@dataclass
class View:
    """What some of the subscribers see, and have to end with."""

    audience: Callable[[Stream], Audience]
    expected: Callable[[Stream], dict[tuple[str, str], Any]]


def only_settings(stream: Stream) -> dict[tuple[str, str], Any]:
    return {name: value for name, value in shown(stream).items() if name[0] == "setting"}


VIEWS = [
    View(everything, shown),
    View(lambda stream: everything(stream, ["setting"]), only_settings),
    View(popular, seen),
]


def random_changes(dice: random.Random) -> dict[tuple[str, str], Any]:
    changes: dict[tuple[str, str], Any] = {}
    for _ in range(dice.choice([0, 1, 1, 2, 5, 12])):
        name = dice.choice(["message", "setting"]), f"k{dice.randrange(15)}"
        value: Any = message(dice.choice(["x", "é\u2028", "\U0001f600"]), dice.randrange(20))
        if name[0] == "setting":
            value = dice.choice([0, "", [], {"deep": [None, {"x": 1.5}]}, False, "text"])
        changes[name] = None if dice.random() < 0.3 else value
    return changes


@pytest.mark.parametrize(("database", "seed"), SEEDS, indirect=["database"])
async def test_every_subscriber_ends_with_the_rows(
    seed: int, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    """Whatever the order of commits, lost bells, prunings, snapshots, departures and returns."""
    dice = random.Random(seed)
    configure(
        FEED_POLL_SECONDS=0.05,
        FEED_VALUE_ROWS=dice.choice([0, 3, 100]),
        FEED_ENTRY_ROWS=dice.choice([8, 100]),
    )
    set_page_rows(monkeypatch, 4)
    stream = await sync_to_async(make_stream)(using=database)
    done = asyncio.Event()
    last = 0

    async def writer() -> None:
        nonlocal last
        for _ in range(40):
            details: dict[str, Any] = {
                "snapshot": dice.random() < 0.05,
                "up_to_date": dice.random() < 0.8,
                "txids": ["t"] * dice.randrange(3),
            }
            change = random_changes(dice)
            if dice.random() < 0.6:
                last = await commit_and_ring(stream, change, **details)
            else:
                last, _ = await sync_to_async(commit)(stream, change, **details)
            if dice.random() < 0.05:
                log = FeedEntry.objects.using(database)
                await log.filter(revision__lt=last - 2).aupdate(
                    created_at=stream.created_at.replace(year=2020)
                )
                await sync_to_async(prune)(database)
            await asyncio.sleep(dice.choice([0, 0, 0.002]))
        last = await commit_and_ring(stream, {})
        done.set()

    async def reader(view: View) -> Client:
        client = Client()
        while not done.is_set():
            async with follow(
                stream, client.offset, audience=lambda: view.audience(stream), client=client
            ) as follower:
                for _ in range(dice.randrange(1, 12)):
                    client.fold(await asyncio.wait_for(anext(follower.frames), 10))
                    if done.is_set():
                        break
            if client.frames and dice.random() < 0.3:
                client = resume_earlier(client, dice)
        async with follow(
            stream, client.offset, audience=lambda: view.audience(stream), client=client
        ) as follower:
            await follower.until(
                lambda client: client.up_to_date and client.offset.endswith(f".{last}")
            )
        return client

    readers = [asyncio.create_task(reader(VIEWS[n % 3])) for n in range(6)]
    await writer()
    for number, client in enumerate(await asyncio.gather(*readers)):
        assert client.state == await sync_to_async(VIEWS[number % 3].expected)(stream), (
            f"reader {number}"
        )


def resume_earlier(client: Client, dice: random.Random) -> Client:
    """The client as it was some frames ago, as if it had crashed and come back from its stored
    state.
    """
    earlier = Client()
    for frame in client.frames[: dice.randrange(len(client.frames) + 1)]:
        earlier.fold_frame(frame)
    return earlier
