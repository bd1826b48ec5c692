"""Holders of leases for tests that look at what is said of a stream, and consume nothing."""

from __future__ import annotations

from durable_state.consumer.lag import Note, write_lags
from durable_state.models import Stream
from tests import leases

__all__ = ["HERE", "follow", "leave"]

HERE = "elsewhere:1:run:x"
"""A holder of which this machine cannot tell whether it lives."""


def follow(stream: Stream, holder: str = HERE) -> int:
    """Take the stream's lease, and be at its tail; the fencing token."""
    token = leases.acquire(stream, holder)
    assert token is not None
    write_lags(stream.using, [Note(stream.pk, token, None, "")])
    return token


def leave(stream: Stream, token: int, *, at_tail: bool = False) -> None:
    """Give the lease back."""
    leases.give_back(stream, token, at_tail=at_tail)
