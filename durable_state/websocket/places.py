"""Counts each follower's sockets and subscriptions in this process."""

from __future__ import annotations

from collections import Counter

from durable_state.conf import get_settings
from durable_state.errors import DurableStateError

__all__ = ["TooManyPlaces", "leave_place", "take_place"]


class TooManyPlaces(DurableStateError):
    """A follower has FEED_USER_SUBSCRIPTIONS sockets and subscriptions in this process."""


_taken = Counter[str]()


def take_place(follower: str) -> None:
    """Counts one more socket, or subscription, of ``follower``. Raises: TooManyPlaces."""
    limit = get_settings().feed_user_subscriptions
    if _taken[follower] >= limit:
        raise TooManyPlaces(
            f"{follower} has {limit} sockets and subscriptions in this process.",
            "Close some, or raise FEED_USER_SUBSCRIPTIONS.",
        )
    _taken[follower] += 1


def leave_place(follower: str) -> None:
    """Counts one socket or subscription less."""
    _taken[follower] -= 1
    if not _taken[follower]:
        del _taken[follower]
