"""The policy is asked again about everybody, whoever else there is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import pytest

from durable_state.feed import Audience, renewal


@dataclass
class Followed:
    """A stream with its subscribers, in one group."""

    stream_name: str = "chat"
    members: list[Any] = field(default_factory=list)

    @property
    def groups(self) -> dict[Hashable, Any]:
        """The one."""
        return {"": self}

    __hash__ = object.__hash__


@dataclass(eq=False)
class Member:
    """A subscriber who counts how often the policy was asked about it."""

    follower: str
    asked: Counter[str]
    hangs: bool = False

    @property
    def renewal(self) -> Hashable:
        """It is asked about alone."""
        return self.follower

    async def renew(self) -> Audience | None:
        """Asks the policy."""
        self.asked[self.follower] += 1
        if self.hangs:
            await asyncio.Event().wait()
        raise ZeroDivisionError  # what comes of it does not matter here

    def end(self, error: Exception) -> None:
        """Stays."""

    def update_audience(self, audience: Audience) -> None:
        """Stays."""


async def test_nobody_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for those whose answers never come, nor for those who join all the time."""
    monkeypatch.setattr(renewal, "RENEW_SECONDS", 0.0)
    monkeypatch.setattr(renewal, "PATIENCE_SECONDS", 0.001)
    asked = Counter[str]()
    known = [Member(f"n{number:03}", asked, hangs=number % 10 == 0) for number in range(100)]
    stream = Followed(members=list(known))
    hubs: Any = {"": stream}
    rounds = asyncio.create_task(renewal.renew_all(hubs))
    answering = [each.follower for each in known if not each.hangs]
    newcomers = 0
    async with asyncio.timeout(20):
        while min(asked[name] for name in answering) < 5:
            # Each is first in the order in which they are asked about.
            newcomers += 1
            stream.members.append(Member(f"a{newcomers}", asked))
            await asyncio.sleep(0.001)
    rounds.cancel()
    counts = [asked[name] for name in answering]
    assert max(counts) - min(counts) <= 1
    assert all(asked[each.follower] == 1 for each in known if each.hangs)
