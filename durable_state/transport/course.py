"""Chooses the next request to a stream's server.

    CATCH_UP ──up to date──▶ LIVE ──not at the tail, closed, or not to be trusted──▶ CATCH_UP
        └────────empty and closed, or up to date and not live──────▶ DONE

Opens no connection and waits for nothing.
"""

from __future__ import annotations

from enum import Enum, auto

from .backoff import pause_after_empty
from .following import Following
from .request import Mode, Request

__all__ = ["Course"]


class _Phase(Enum):
    CATCH_UP = auto()
    LIVE = auto()
    DONE = auto()


class Course:
    """The requests of one session, one after the other."""

    def __init__(self, url: str, following: Following, *, silence: float | None) -> None:
        """``silence`` is how long a connection may be silent, in seconds."""
        self.following = following
        self.mode = Mode.CATCH_UP
        """The mode of the current request."""

        self.is_live = False
        """Whether the current request follows the tail, in whichever mode."""

        self._url = url
        self._silence = silence
        self._phase = _Phase.CATCH_UP
        self._cursor: str | None = None
        self._brought = False  # whether the current answer brought a message
        self._empty_answers = 0  # in a row, each leading on to the next
        self._is_checking = False  # whether a GET has to find out why a live request was silent
        self._asked: tuple[object, ...] = ()
        self._request: Request | None = None  # the current one, made from _asked

    def next_request(self, offset: str) -> Request | None:
        """The request to make next, from that offset; None once there is nothing left to read."""
        if self._phase is _Phase.DONE:
            return None
        live = self.following.mode
        self.is_live = self._phase is _Phase.LIVE
        self.mode = live if self.is_live and live else Mode.CATCH_UP
        cursor = None if self.mode is Mode.CATCH_UP else self._cursor
        pause = self.following.pause if self.is_live else pause_after_empty(self._empty_answers)
        self._brought = False

        # A quiet stream makes the same request again and again.
        asked = (offset, self.mode, cursor, pause)
        if asked != self._asked:
            self._asked = asked
            self._request = Request.read(
                self._url, offset, self.mode, cursor=cursor, silence=self._silence, pause=pause
            )
        return self._request

    def keep_cursor(self, cursor: str | None) -> None:
        """Keeps the server's cursor for the next live request; None changes nothing."""
        self._cursor = cursor or self._cursor

    def proceed(self, *, up_to_date: bool, closed: bool, over: bool) -> None:
        """Notes that a GET or a long-poll was answered in full; ``over``: nothing will follow."""
        self._empty_answers = 0 if self._brought or up_to_date else self._empty_answers + 1
        if over:
            self._phase = _Phase.DONE
        elif closed or not up_to_date:
            # The stream only counts as closed once a GET finds nothing more.
            self._phase = _Phase.CATCH_UP
        else:
            self._phase = _Phase.DONE if self.following.mode is None else _Phase.LIVE

    def catch_up(self) -> None:
        """Makes the next request a plain GET."""
        self._phase = _Phase.CATCH_UP

    def look_why_silent(self) -> None:
        """Makes the next request a plain GET, because a live request was silent for too long."""
        self._is_checking = self._phase is _Phase.LIVE
        self._phase = _Phase.CATCH_UP

    def brought(self) -> None:
        """Notes that the current answer has brought its first message."""
        self._brought = True
        if self.mode is not Mode.CATCH_UP:
            self.following.brought()
        elif self._is_checking:  # the silent live request should have brought it
            self.following.held_back()

    def settled(self) -> None:
        """Notes that the current answer was read in full."""
        if self.mode is Mode.CATCH_UP:
            self._is_checking = False
