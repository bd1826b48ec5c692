"""The codes with which a websocket, or one of its subscriptions, is closed."""

from __future__ import annotations

import logging
import math
import time

from durable_state.feed import (
    AccessWithdrawn,
    CallTimedOut,
    ClientGone,
    StreamRemoved,
    TooManySubscribers,
)
from durable_state.feed.outage import is_away, warn_away

from .places import TooManyPlaces

__all__ = [
    "AWAY",
    "BAD_REQUEST",
    "DONE",
    "FAILED",
    "NOT_ALLOWED",
    "NOT_SIGNED_IN",
    "NO_SUCH_STREAM",
    "REASONS",
    "TOO_LARGE",
    "TOO_MANY",
    "code_of",
]

logger = logging.getLogger("durable_state.websocket")

DONE = 1000
NOT_SIGNED_IN = 4401
NOT_ALLOWED = 4403
NO_SUCH_STREAM = 4404
TOO_MANY = 4429
BAD_REQUEST = 1008
"""RFC 6455, 7.4.1: the request cannot be understood."""
TOO_LARGE = 1009
FAILED = 1011
"""RFC 6455, 7.4.1: the server met an error, which is in its log."""
AWAY = 1013
"""IANA's "Try Again Later": the server cannot answer for the moment."""

WARNING_SECONDS = 10.0
"""Seconds between two warnings about limits."""

REASONS = {
    DONE: "Unsubscribed.",
    NOT_SIGNED_IN: "Sign in, or renew your session or token.",
    NOT_ALLOWED: "You may not read this stream.",
    NO_SUCH_STREAM: "There is no such stream.",
    TOO_MANY: "Too many subscriptions; close some first.",
    BAD_REQUEST: "The request is not valid.",
    TOO_LARGE: "The frame is too large.",
    FAILED: "An error occurred on the server; see its log.",
    AWAY: "The server cannot answer now; try again.",
}
"""In words, without anything the client must not learn."""


_warned_at = -math.inf


def _warn(error: BaseException) -> None:
    """Logs that a limit was reached, but not often: very many sockets may reach it at once."""
    global _warned_at
    if time.monotonic() - _warned_at >= WARNING_SECONDS:
        _warned_at = time.monotonic()
        logger.warning("%s", error)


def code_of(
    error: BaseException,
    name: str,
    consequence: str = "a subscription ends because its frames could not be made.",
) -> int:
    """The code for what ended a subscription of the stream ``name``; logs unexpected errors."""
    match error:
        case StreamRemoved():
            return NO_SUCH_STREAM
        case ClientGone():
            return DONE
        case AccessWithdrawn():
            return NOT_ALLOWED
        case TooManySubscribers() | TooManyPlaces():
            _warn(error)
            return TOO_MANY
        case CallTimedOut():
            _warn(error)
            return FAILED
        case _ if is_away(error):
            warn_away(name, error)
            return AWAY
        case _:
            logger.error("%s: %s", name, consequence, exc_info=error)
            return FAILED
