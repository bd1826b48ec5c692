"""Holders of leases, for tests of what is said about a stream; they consume nothing."""

from __future__ import annotations

from durable_state.consumer.lag import Note, write_lags
from durable_state.models import Stream
from tests import leases

__all__ = ["HERE", "follow", "leave"]

HERE = "elsewhere:1:run:x"
"""A holder of which this machine cannot tell whether it is alive."""


def follow(stream: Stream, holder: str = HERE) -> int:
    """Takes the stream's lease, at its tail; returns the fencing token."""
    token = leases.acquire(stream, holder)
    assert token is not None
    write_lags(stream.using, [Note(stream.pk, token, None, "")])
    return token


def leave(stream: Stream, token: int, *, at_tail: bool = False) -> None:
    """Gives the lease back."""
    leases.give_back(stream, token, at_tail=at_tail)
