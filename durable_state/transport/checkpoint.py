"""Recognizes a stream: is this still the one that was read before?

Offsets cannot tell. A stream that was deleted and created again under the same URL may give the same offsets for other messages, so the
messages themselves are compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from durable_state.protocol import Message

__all__ = ["Checkpoint", "Fingerprint"]

_MOST_MESSAGES = 256
_MOST_BYTES = 64 * 1024


class Checkpoint(NamedTuple):
    """A place in a stream and what was found there.

    ``offset`` is where the last answer that held messages was read from. ``fingerprint`` is ``<count>:<sha256>`` of the first ``count``
    messages from there on: as many as there were, at most 256, or those that begin within the first 64 KiB.
    """

    offset: str
    fingerprint: str

    @property
    def covered(self) -> int:
        """How many messages the fingerprint covers."""
        return int(self.fingerprint.partition(":")[0])


class Fingerprint:
    """Collects the first messages from an offset on, and hashes them when asked.

    The same messages give the same fingerprint in whatever answers they come, by GET or SSE, from a server that formats the two alike or
    not: each is hashed in a normal form, and without the ``headers.offset`` that servers add.
    """

    __slots__ = ("_count", "_hash", "_limited", "_most", "_size", "_waiting", "offset")

    def __init__(self, offset: str, count: int | None = None) -> None:
        """``count`` asks for exactly so many messages; without it, the bounds of a new checkpoint apply."""
        self.offset = offset
        self._most = _MOST_MESSAGES if count is None else count
        self._limited = count is None
        self._count = 0
        self._size = 0
        self._waiting: list[bytes] = []
        self._hash = hashlib.sha256()

    def add(self, messages: Iterable[Message]) -> None:
        """Take the next messages, unless enough were taken."""
        for message in messages:
            if self._count >= self._most or (self._limited and self._size >= _MOST_BYTES):
                return
            self._waiting.append(message.raw)
            self._count += 1
            self._size += len(message.raw)

    @property
    def count(self) -> int:
        """How many messages were taken."""
        return self._count

    def checkpoint(self) -> Checkpoint:
        """The place and what was found there so far."""
        for raw in self._waiting:
            self._hash.update(_normal(raw))
            self._hash.update(b"\n")
        self._waiting.clear()
        return Checkpoint(self.offset, f"{self._count}:{self._hash.hexdigest()}")


_encode = msgspec.json.Encoder(order="sorted").encode


def _normal(raw: bytes) -> bytes:
    """One form for all ways to write an item, as far as it can be read."""
    try:
        return _encode(_without_offset(msgspec.json.decode(raw)))
    except (msgspec.MsgspecError, RecursionError):
        pass
    try:
        return json.dumps(_without_offset(json.loads(raw)), sort_keys=True).encode()
    except (ValueError, RecursionError):
        return raw


def _without_offset(item: Any) -> Any:
    if isinstance(item, dict) and isinstance(headers := item.get("headers"), dict):
        headers.pop("offset", None)
    return item
