"""Offsets: a reader's position in a stream's feed, and what it was shown up to there."""

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
    r"_(?P<stamp>[0-9a-f]{1,14})_(?P<signature>[0-9a-f]{16})(?:_(?P<rest>[A-Za-z0-9_-]{1,8000}))?"
)
_HELD = re.compile("(?:[0-9a-f]{32})?")


class Place(NamedTuple):
    """Where the snapshot's next page begins: in this type, after this key (None: at its first)."""

    type: str
    after: str | None


class _Rest(msgspec.Struct, array_like=True):
    held: str = ""
    place: Place | None = None


_decode_rest = msgspec.json.Decoder(_Rest).decode


class Offset(NamedTuple):
    """A position in the feed: within the snapshot that precedes ``revision``, or after that commit.

    As text, offsets sort in reading order. A client that tampers with one gets an error, or other
    rows that the policy allows, but never more.
    """

    revision: int
    stamp: int
    """Distinguishes the commit from another with the same number, as a restored database may make.
    """
    signature: str
    """Identifies the stream and what the reader may see of it: 16 hexadecimal digits."""
    place: Place | None = None
    """Where the snapshot continues; None after its end."""
    number: int = 0
    """Within the snapshot, the number of pages before; after it, the minute in which narrowed rows
    were last compared.
    """
    held: str = ""
    """The name under which the reader's rows of narrowed types are stored."""

    def __str__(self) -> str:
        phase = 1 if self.place is None else 0
        text = f"{self.revision:016x}_{phase}{self.number:08x}_{self.stamp:x}_{self.signature}"
        if self.place is None and not self.held:
            return text
        rest = msgspec.json.encode(_Rest(self.held, self.place))
        return f"{text}_{base64.urlsafe_b64encode(rest).decode().rstrip('=')}"

    @classmethod
    def parse(cls, text: str) -> Offset | None:
        """Parses an offset; None if ``text`` is not one."""
        found = _TEXT.fullmatch(text)
        if found is None:
            return None
        coded = found["rest"] or ""
        try:
            rest = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
            more = _decode_rest(rest) if coded else _Rest()
        except (binascii.Error, UnicodeDecodeError, msgspec.MsgspecError, RecursionError):
            return None
        if (more.place is None) != (found["phase"] == "1") or not _HELD.fullmatch(more.held):
            return None
        revision, stamp, number = (int(found[name], 16) for name in ("revision", "stamp", "number"))
        if revision >= 2**63:
            return None
        return cls(revision, stamp, found["signature"], more.place, number, more.held)
