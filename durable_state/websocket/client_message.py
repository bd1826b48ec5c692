"""What a client may send down a socket of ``ws/state/``: one JSON object in each text frame."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

__all__ = ["MESSAGE_BYTES", "BadMessage", "ClientMessage", "Ping", "Subscribe", "Unsubscribe"]

MESSAGE_BYTES = 64 * 1024
"""Characters of a client's frame at most."""

NAMES = 1000
"""Types, and keys, that one subscription may name."""

ID_LENGTH = 100

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_LENGTH)]
Names = Annotated[list[str], msgspec.Meta(max_length=NAMES)]


class BadMessage(ValueError):
    """A frame that is not a valid message; says why, for the client's author."""

    def __init__(self, text: str, subscription: str | None = None) -> None:
        super().__init__(text)
        self.subscription = subscription
        """The id of the subscription that it would have begun, if it has one."""


class Subscribe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for the frames of a stream: ``id`` names the subscription, by default as the stream.

    A misspelt member is refused: without it, more would be sent than was asked for.
    """

    subscribe: Annotated[str, msgspec.Meta(min_length=1)]
    id: Id | None = None
    types: Names = []
    keys: Names = []
    offset: str = ""

    @property
    def name(self) -> str:
        """What its frames are called by."""
        return self.subscribe if self.id is None else self.id


class Unsubscribe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ends a subscription."""

    unsubscribe: Id


class Ping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks whether the socket is alive."""

    ping: str | int | float | bool | None


ClientMessage = Subscribe | Unsubscribe | Ping

_BY_MEMBER: dict[str, type[Any]] = {
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "ping": Ping,
}


def decode(text: str) -> ClientMessage:
    """The message. Raises: BadMessage."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise BadMessage("A frame must be one JSON object in valid UTF-8.") from error

    verbs = [name for name in _BY_MEMBER if isinstance(found, dict) and name in found]
    if len(verbs) != 1:
        raise BadMessage('A frame must be an object with "subscribe", "unsubscribe" or "ping".')

    try:
        message: ClientMessage = msgspec.convert(found, _BY_MEMBER[verbs[0]])
    except msgspec.ValidationError as error:
        named = found.get("id") if verbs == ["subscribe"] else None
        name = named if isinstance(named, str) and len(named) <= ID_LENGTH else None
        raise BadMessage(f"{verbs[0]}: {error}.", name) from error
    return message
