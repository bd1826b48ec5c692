"""Asks the policy again, in one round for all subscribers of an event loop.

Subscribers with the same renewal are asked about once. A round goes through the renewals one after
the other and uses at most half of one thread's time. It does not wait for a slow answer, which
counts when it comes. What is the same for many of them is asked for once (``shared_answers.py``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from durable_state.errors import DurableStateError

from .audience import Audience
from .outage import DATABASE_AWAY, Answered, warn_away
from .shared_answers import sharing_answers
from .threads import CallTimedOut

__all__ = ["RENEW_SECONDS", "AccessWithdrawn", "renew_all"]

RENEW_SECONDS = 5.0
"""Seconds between two rounds, and so about how long a withdrawn permission still counts.

A round of very many users, or with a slow policy, takes longer: a thousand different users about as
long as this.
"""
PATIENCE_SECONDS = 0.5
"""Seconds a round waits for one answer."""


class AccessWithdrawn(DurableStateError):
    """The stream is no longer readable for this subscriber."""


class Renewable(Protocol):
    """A subscriber whose audience is renewed."""

    renew: Callable[[], Awaitable[Audience | None]]
    renewal: Hashable
    follower: str

    def update_audience(self, audience: Audience) -> None:
        """Takes the newest answer of the policy."""

    def end(self, error: Exception) -> None:
        """Ends it."""


class Followed(Protocol):
    """A stream with its subscribers."""

    stream_name: str
    groups: dict[Hashable, Any]


Renewal = tuple[Followed, Hashable]
"""Subscribers of one stream about whom the policy is asked once."""


async def renew_all(hubs: Mapping[Any, Followed]) -> None:
    """Asks about the subscribers of these hubs, round after round."""
    asked: dict[Renewal, asyncio.Task[None]] = {}
    answered = Answered()
    try:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            by_renewal = _by_renewal(hubs)
            answered.forget_all_but(by_renewal)
            # What one user follows comes together, so that the user is looked up once.
            due = sorted(by_renewal.items(), key=lambda each: each[1][0].follower)
            with sharing_answers():
                for renewal, members in due:
                    if renewal in asked:
                        continue
                    began = time.monotonic()
                    asked[renewal] = task = asyncio.create_task(_renew(renewal, members, answered))
                    task.add_done_callback(partial(_forget, asked, renewal))
                    await asyncio.wait([task], timeout=PATIENCE_SECONDS)
                    await asyncio.sleep(time.monotonic() - began)
    finally:
        for task in asked.values():
            task.cancel()


def _by_renewal(hubs: Mapping[Any, Followed]) -> dict[Renewal, list[Any]]:
    found: dict[Renewal, list[Any]] = {}
    for hub in hubs.values():
        for group in hub.groups.values():
            for member in group.members:
                found.setdefault((hub, member.renewal), []).append(member)
    return found


def _forget(asked: dict[Renewal, Any], renewal: Renewal, _: object) -> None:
    del asked[renewal]


async def _renew(renewal: Renewal, members: Sequence[Renewable], answered: Answered) -> None:
    hub, _ = renewal
    try:
        audience = await members[0].renew()
    except Exception as error:
        is_outage = isinstance(error, (*DATABASE_AWAY, CallTimedOut))
        if is_outage and answered.still_holds(renewal):
            warn_away(f"the policy of {hub.stream_name!r}", error)
            return
        for member in members:
            member.end(error)
        return

    answered.note(renewal)
    for member in members:
        if audience is None:
            member.end(
                AccessWithdrawn(f"{hub.stream_name!r} is no longer readable for this subscriber.")
            )
        else:
            member.update_audience(audience)
