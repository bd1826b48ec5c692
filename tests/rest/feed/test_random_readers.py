"""Random commits between readers of the feed who filter, pause, and go back to any offset they
had: each ends with the rows that it may see, and learns of no other.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db.models import QuerySet

from durable_state import StatePolicy
from durable_state.feed import prune
from durable_state.models import FeedEntry, Stream
from durable_state.rest.feed import reading
from tests.app.models import Message
from tests.feed.support.commits import Changes, commit, make_stream, message, shown
from tests.feed.support.pages import set_page_rows

from .support.reader import Reader, client_of

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = ["a", "b/ü", "c?&=", "d", "e'\"", "f%2F", "g\U0001f600", "h h", "i", "j"]
LARGE = 2**60


class Bounded(StatePolicy):
    """Staff see everything, others the messages with at least so many likes."""

    least = 10

    def streams(self, user: Any) -> QuerySet[Stream]:
        """All of them."""
        return Stream.objects.all()

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """By model and likes."""
        if user.is_superuser:
            return queryset
        if queryset.model is not Message:
            return queryset.none()
        return queryset.filter(likes__gte=self.least)


@dataclass
class Seat:
    """A reader, its state at each offset that it had, and what it may see."""

    reader: Reader
    sees: Callable[[Changes], Changes]
    """The rows that it must end with."""
    may_see: Callable[[Changes], Changes]
    """The rows that its user may see, whether or not it asked for them."""
    past: list[tuple[str, Changes]] = field(default_factory=list)
    ever: set[tuple[str, str]] = field(default_factory=set)
    """Everything that it was ever allowed to see."""

    async def step(self) -> bool:
        """Reads one answer; returns whether it was the last one for now."""
        response = await self.reader.get()
        if response.status_code == 410:
            self.reader.offset, self.reader.state = "-1", {}
            return False
        assert response.status_code == 200, response.content
        self.past.append((self.reader.offset, deepcopy(self.reader.state)))
        return "Stream-Up-To-Date" in response

    def go_back(self, dice: random.Random) -> None:
        """Returns to an earlier offset and state, as after a crash."""
        self.reader.offset, self.reader.state = deepcopy(dice.choice([("-1", {}), *self.past]))


def random_changes(dice: random.Random) -> Changes:
    changes: Changes = {}
    for _ in range(dice.choice([0, 1, 1, 2, 4, 9])):
        name = dice.choice(["message", "message", "setting"]), dice.choice(KEYS)
        value: Any = message(dice.choice(["x", "y\u2028"]), dice.choice([None, 0, 5, 9, 10, 20]))
        if name[0] == "setting":
            value = dice.choice([0, "", [], {"deep": [[[[None]]]]}, False, LARGE, 1.5])
        changes[name] = None if dice.random() < 0.3 else value
    return changes


def as_sent(state: Changes) -> Changes:
    """Integers from 2**53 on are sent as text."""
    return {name: str(LARGE) if value == LARGE else value for name, value in state.items()}


@pytest.mark.parametrize("seed", range(2))
async def test_every_reader_ends_with_what_it_may_see(
    seed: int, make_user: Any, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is committed, pruned, switched, or changed in the policy meanwhile."""
    dice = random.Random(seed)
    configure(
        POLICY=f"{__name__}.Bounded",
        FEED_VALUE_ROWS=dice.choice([0, 2, 100]),
        FEED_ENTRY_ROWS=dice.choice([6, 100]),
    )
    minute = [0]
    monkeypatch.setattr(reading, "_minute", lambda: minute[0])
    monkeypatch.setattr(Bounded, "least", 10)
    set_page_rows(monkeypatch, 3)
    stream = await sync_to_async(make_stream)()

    def popular(state: Changes) -> Changes:
        return {
            name: value
            for name, value in state.items()
            if name[0] == "message" and (value["likes"] or 0) >= Bounded.least
        }

    async def seat(name: str, **query: Any) -> Seat:
        user = await sync_to_async(make_user)(name=name, superuser=name.startswith("root"))
        may_see = dict if user.is_superuser else popular

        def sees(state: Changes) -> Changes:
            return {
                (entity_type, key): value
                for (entity_type, key), value in may_see(state).items()
                if entity_type in query.get("type", [entity_type]) and key in query.get("key", KEYS)
            }

        return Seat(Reader(await client_of(user), **query), sees, may_see)

    some = KEYS[1:4]
    seats = [
        await seat("root-1"),
        await seat("root-2", type=["setting"]),
        await seat("root-3", key=some),
        await seat("ada"),
        await seat("bob", key=some),
    ]

    async def note() -> Changes:
        state = as_sent(await sync_to_async(shown)(stream))
        for each in seats:
            each.ever |= each.may_see(state).keys()
        return state

    for _ in range(40):
        await sync_to_async(commit)(
            stream, random_changes(dice), snapshot=dice.random() < 0.05, txids=["t"]
        )
        state = await note()
        if dice.random() < 0.1:
            monkeypatch.setattr(Bounded, "least", dice.choice([5, 9, 10, 20]))
            state = await note()
        if dice.random() < 0.2:
            minute[0] += 1
        if dice.random() < 0.05:
            old = FeedEntry.objects.filter(revision__lt=stream.revision + dice.randrange(60))
            await old.aupdate(created_at=stream.created_at.replace(year=2020))
            await sync_to_async(prune)("default")
        for each in seats:
            if dice.random() < 0.6:
                await each.step()
            if dice.random() < 0.1:
                each.go_back(dice)

    minute[0] += 1
    for each in seats:
        for _ in range(100):
            if await each.step():
                break
        assert each.reader.state == each.sees(state), each.reader.query
        assert each.reader.mentioned <= each.ever, each.reader.query
