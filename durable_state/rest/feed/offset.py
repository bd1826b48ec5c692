"""Offsets: where a reader is in a stream's feed, and what it was told until then."""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

import msgspec

__all__ = ["NOW", "START", "Offset", "Place"]

START, NOW = "-1", "now"
"""The protocol's words for the beginning and the end."""

_TEXT = re.compile(
    r"(?P<revision>[0-9a-f]{16})_(?P<phase>[01])(?P<number>[0-9a-f]{8})"
    r"_(?P<stamp>[0-9a-f]{1,14})_(?P<signature>[0-9a-f]{16})(?:_(?P<rest>[A-Za-z0-9_-]{1,4000}))?"
)
_HELD = re.compile("(?:[0-9a-f]{32})?")


class Place(NamedTuple):
    """Where the next page of a snapshot begins: in this type, after this key (None: its first)."""

    type: str
    after: str | None


class _Rest(msgspec.Struct, array_like=True):
    held: str = ""
    place: Place | None = None


_decode_rest = msgspec.json.Decoder(_Rest).decode


class Offset(NamedTuple):
    """A place in the feed: in the snapshot from which ``revision`` follows, or behind that commit.

    As text they are ordered as they are read. Whoever changes one gets an error or other rows that
    the policy gives, and never more.
    """

    revision: int
    stamp: int
    """Tells the commit from another one of the same number, which a restored database may make."""
    signature: str
    """Of the stream and what the reader sees of it: 16 hexadecimal digits."""
    place: Place | None = None
    """Where the snapshot goes on; None behind it."""
    number: int = 0
    """Pages of the snapshot before; behind it, the minute in which narrowed rows were compared."""
    held: str = ""
    """Names the rows of narrowed types that the reader holds."""

    def __str__(self) -> str:
        phase = 1 if self.place is None else 0
        text = f"{self.revision:016x}_{phase}{self.number:08x}_{self.stamp:x}_{self.signature}"
        if self.place is None and not self.held:
            return text
        rest = msgspec.json.encode(_Rest(self.held, self.place))
        return f"{text}_{base64.urlsafe_b64encode(rest).decode().rstrip('=')}"

    @classmethod
    def parse(cls, text: str) -> Offset | None:
        """The offset that ``text`` spells, or None."""
        found = _TEXT.fullmatch(text)
        if found is None:
            return None
        coded = found["rest"] or ""
        try:
            rest = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
            more = _decode_rest(rest) if coded else _Rest()
        except (binascii.Error, msgspec.MsgspecError):
            return None
        if (more.place is None) != (found["phase"] == "1") or not _HELD.fullmatch(more.held):
            return None
        revision, stamp, number = (int(found[name], 16) for name in ("revision", "stamp", "number"))
        if revision >= 2**63:
            return None
        return cls(revision, stamp, found["signature"], more.place, number, more.held)
