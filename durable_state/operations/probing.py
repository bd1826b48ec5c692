"""Asks a stream's server once, so that a wrong URL is reported where it was typed."""

from __future__ import annotations

from dataclasses import dataclass

from durable_state.consumer import ask_once
from durable_state.errors import DurableStateError, StreamNotFound, Unavailable
from durable_state.models import Stream

__all__ = ["Finding", "probe"]

SECONDS = 10.0
"""How long the server may take in all, in seconds."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a server said: ``text`` is one line; ``good`` says that the stream can be read."""

    text: str
    good: bool


def probe(stream: Stream) -> Finding:
    """Asks the stream's server once, with its headers; returns what it found. Raises nothing."""
    try:
        answer = ask_once(stream, SECONDS)
    except StreamNotFound as error:
        return Finding(f"{error.message} It will be read as soon as it is created.", False)
    except Unavailable as error:
        return Finding(f"{error.message} A worker will try again.", False)
    except DurableStateError as error:
        return Finding(str(error), False)
    closed = ", which is closed" if answer.closed else ""
    return Finding(f"The server answers with a stream of JSON messages{closed}.", True)
