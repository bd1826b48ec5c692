"""The places for sockets that one stream has in this process."""

from __future__ import annotations

from collections import Counter

from durable_state.conf import get_settings
from durable_state.errors import DurableStateError

__all__ = ["Places", "TooManySubscribers"]


class TooManySubscribers(DurableStateError):
    """The process serves FEED_SUBSCRIBERS sockets of this stream, or its share to this follower."""


class Places:
    """Counts the sockets that follow a stream, all of them and those of each follower."""

    def __init__(self, stream_name: str) -> None:
        self._stream_name = stream_name
        self._taken = Counter[str]()

    @property
    def taken(self) -> int:
        """How many sockets follow it now."""
        return self._taken.total()

    def take(self, follower: str) -> None:
        """Counts one more socket of ``follower``. Raises: TooManySubscribers."""
        limit, own = get_settings().feed_subscribers, self._taken[follower]
        left_by_others = limit - (self.taken - own)
        if self.taken >= limit:
            raise TooManySubscribers(
                f"{self._stream_name!r} has {limit} subscribers in this process.",
                "Raise FEED_SUBSCRIBERS.",
            )
        # A first socket is always let in; nobody can take the last places by opening many.
        if follower and own and (own + 1) * 2 > left_by_others:
            raise TooManySubscribers(
                f"{follower} has {own} sockets of {self._stream_name!r} in this process,"
                " its share.",
                "Close some, or raise FEED_SUBSCRIBERS.",
            )
        self._taken[follower] += 1

    def leave(self, follower: str) -> None:
        """Counts one socket less."""
        self._taken[follower] -= 1
        if not self._taken[follower]:
            del self._taken[follower]
