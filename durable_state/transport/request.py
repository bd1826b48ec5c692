"""Requests that read a stream."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

__all__ = ["FIRST_EVENT", "LONG_POLL_SILENCE", "SILENCE", "LiveMode", "Mode", "Request"]

SILENCE = 75.0
"""Seconds of silence after which a connection is dead.

Servers send something, or close it, about every 60 s.
"""

LONG_POLL_SILENCE = 45.0
"""The same for long-poll, which servers answer after about 30 s."""

FIRST_EVENT = 5.0
"""Seconds in which an event stream has to begin: servers say at once where the tail is."""

OWN_PARAMETERS = ("offset", "live", "cursor")
"""The query parameters that the protocol adds to a URL."""

LiveMode = Literal["sse", "long-poll"]


class Mode(StrEnum):
    """The three ways to read. Spec: PROTOCOL.md 5.6, 5.7, 5.8."""

    CATCH_UP = "catch-up"
    LONG_POLL = "long-poll"
    SSE = "sse"


@dataclass(frozen=True, slots=True)
class Request:
    """One GET of ``stream``.

    ``silence`` is how long the connection may be silent, in seconds, and ``head_silence`` the same
    until the head of the answer is complete. ``pause`` is how long to wait before sending it.
    """

    stream: str
    url: str
    mode: Mode
    headers: dict[str, str]
    silence: float
    head_silence: float
    pause: float = 0.0

    @classmethod
    def read(
        cls,
        url: str,
        offset: str,
        mode: Mode,
        *,
        cursor: str | None = None,
        silence: float | None = None,
        pause: float = 0.0,
    ) -> Request:
        """A request that reads from ``offset``. ``silence`` defaults to what suits the mode.

        The query is in lexicographic order, for the caches in between. Spec: PROTOCOL.md 10.1.
        """
        query = {"offset": offset}
        if mode is not Mode.CATCH_UP:
            query["live"] = mode.value
        if cursor is not None:
            query["cursor"] = cursor
        accept = "text/event-stream" if mode is Mode.SSE else "application/json"
        if silence is None:
            silence = LONG_POLL_SILENCE if mode is Mode.LONG_POLL else SILENCE
        if mode is Mode.CATCH_UP:
            silence = min(silence, SILENCE)
        head_silence = min(silence, FIRST_EVENT) if mode is Mode.SSE else silence
        return cls(
            url, _with_query(url, query), mode, {"accept": accept}, silence, head_silence, pause
        )


def _with_query(url: str, query: dict[str, str]) -> str:
    parts = urlsplit(url)
    own = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if name not in OWN_PARAMETERS
    ]
    return parts._replace(
        query=urlencode(sorted([*own, *query.items()]), quote_via=quote, safe="")
    ).geturl()
