"""Frames: what a subscriber receives, and the token by which it resumes.

A frame is one JSON object with three keys, ``{"items": [...], "offset": "<resume token>", "upToDate": bool}``. An item is a State
Protocol change (``type``, ``key``, ``value``, ``headers.operation``) or control (``headers.control``). Rows of a snapshot are
``insert``, rows of a live commit ``update`` (whether they are new to the subscriber only the subscriber knows) or ``delete``.

Transactions: where a commit carried exactly one txid, each of its items has it in ``headers.txid``; where it carried several, the
first item lists them in ``headers.txids``. Spec: STATE-PROTOCOL.md, change and control messages.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import msgspec

from durable_state.models import Stream
from durable_state.registry.represent import jsonable

__all__ = ["START", "Headers", "Item", "Token", "control", "encode_frame", "encode_value", "stream_identity"]

START = "-1"
"""The token from which a subscriber gets everything; the protocol's word for a stream's start."""

_encoder = msgspec.json.Encoder(enc_hook=jsonable)


class Headers(msgspec.Struct, omit_defaults=True):
    """Headers of a change (``operation``) or of a control (``control``)."""

    operation: str = ""
    control: str = ""
    txid: str = ""
    txids: list[str] = []


class Item(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One State Protocol message. ``value`` is encoded already."""

    type: str = ""
    key: str | msgspec.UnsetType = msgspec.UNSET
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    headers: Headers


class Token(NamedTuple):
    """A place in a stream's feed, as one audience sees it.

    ``identity`` names the stream, ``signature`` what the audience sees of it, ``revision`` the last commit that was received. A token
    of a stream that was removed and added again, of another type filter, or from before a permission or a mapping changed does not
    match, and whoever brings it gets a snapshot.
    """

    identity: str
    signature: str
    revision: int

    def __str__(self) -> str:
        return f"{self.identity}.{self.signature}.{self.revision}"

    @classmethod
    def parse(cls, text: str) -> Token | None:
        """The token that ``text`` spells, or None."""
        identity, _, rest = text.partition(".")
        signature, _, revision = rest.partition(".")
        if len(text) > 200 or not (revision.isascii() and revision.isdigit()):
            return None
        return cls(identity, signature, int(revision))


def stream_identity(stream: Stream) -> str:
    """Names one stream for good: a stream that is removed and added again is another one, even where it gets the same number."""
    return f"{stream.pk}-{int(stream.created_at.timestamp() * 1_000_000):x}"


def encode_value(value: Any) -> bytes:
    """Any value that ``represent`` may give, as JSON; what JSON has no type for becomes text."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:  # a lone surrogate, which JSON can spell and UTF-8 cannot
        return json.dumps(value, default=jsonable).encode()


def control(name: str) -> Item:
    """The control ``snapshot-start`` or ``snapshot-end``."""
    return Item(headers=Headers(control=name))


def encode_frame(items: list[Item], offset: str, up_to_date: bool) -> str:
    """The text of one frame."""
    return _encoder.encode({"items": items, "offset": offset, "upToDate": up_to_date}).decode()
