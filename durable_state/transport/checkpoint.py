"""Recognizes a stream: is this still the one that was read before?

Offsets cannot tell. A stream that was restored from a backup, or deleted and created again, may
give the same offsets for other messages, so the messages themselves are compared: by a fingerprint
that covers all of them, and by reading the newest again.

Why: decision 29.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import msgspec

from durable_state.protocol import Message, Position

__all__ = ["DEEP_BYTES", "Checkpoint", "Mark", "Trail", "advance", "digest"]

NEAR_BYTES = 32 * 1024
"""Bytes of messages that a quick look at what lies before a position reads again, at least."""
GATE_BYTES = 1024 * 1024
"""Bytes that may be read again while messages wait for the answer."""
DEEP_BYTES = 16 * 1024 * 1024
"""Bytes that are read again beside the reader: as far as marks go back."""
SPREAD = 4
"""How many times farther back the next mark lies that is kept."""
HINT_BYTES = 8 * 1024
"""Bytes between two marks inside one answer."""
RECENT = 8
"""Messages that are remembered by one digest each."""
LONGEST_OFFSET = 512
"""Characters; nothing longer is taken for an offset. Servers should stay below 256.

Spec: PROTOCOL.md 8.
"""


class Mark(NamedTuple):
    """A place that the server can be asked to read from again.

    ``ordinal`` messages of ``size`` bytes lie before it; ``fingerprint`` is that of all of them.
    """

    offset: str
    ordinal: int
    size: int
    fingerprint: str


class Checkpoint(NamedTuple):
    """What the stream before a position is recognized by.

    That is the fingerprint of all its messages, and marks to read some of them again from.
    """

    ordinal: int
    """How many messages there are before the position."""
    size: int
    """Their bytes."""
    fingerprint: str
    """Of all of them."""
    marks: tuple[Mark, ...]
    """In stream order. The newest is the beginning of the answer that the position lies in, or the
    position itself; of the older ones there are the fewer, the farther back.
    """
    first: str = ""
    """The digest of the stream's first message; "" where it is not known."""
    recent: tuple[str, ...] = ()
    """The digests of the newest few messages.

    A server that has dropped a stream's beginning may answer from what is left, where it is asked
    for the start.
    """

    def near(self) -> Mark | None:
        """Where to begin for a quick look;
        None where it would take too long, or nothing was read.
        """
        gate = [mark for mark in self._before() if self.size - mark.size <= GATE_BYTES]
        return next((mark for mark in gate if self._bytes_since(mark) >= NEAR_BYTES), None) or (
            gate[-1] if gate else None
        )

    def deep(self) -> Mark | None:
        """Where to begin a long look: as much as may be, or all of a last answer that is longer."""
        before = self._before()
        within = [mark for mark in before if self._bytes_since(mark) <= DEEP_BYTES]
        if within and (len(within) == len(before) or self._bytes_since(within[-1]) >= NEAR_BYTES):
            return within[-1]
        in_the_middle = self.marks[-1].ordinal < self.ordinal
        if len(within) == len(before) or in_the_middle:  # resuming reads a long answer again anyway
            return within[-1] if within else None
        return before[len(within)]

    def any_before(self) -> Mark | None:
        """The best place for a quick look, however long it takes."""
        return self.near() or next(iter(self._before()), None)

    def follows(self, before: Checkpoint | None, messages: Sequence[Message]) -> bool:
        """Whether what lies before its position are the messages before ``before``, then these."""
        begun = "" if before is None else before.fingerprint
        return self.fingerprint == advance(begun, messages)

    def dump(self) -> dict[str, Any]:
        """The same as JSON."""
        return self._asdict() | {"marks": [list(mark) for mark in self.marks]}

    @classmethod
    def load(cls, stored: Mapping[str, Any] | None) -> Self | None:
        """From what :meth:`dump` gave."""
        if not stored:
            return None
        marks, recent = tuple(Mark(*mark) for mark in stored["marks"]), tuple(stored["recent"])
        return cls(**{**stored, "marks": marks, "recent": recent})

    def _before(self) -> list[Mark]:
        """The marks with messages between them and the position, the newest first."""
        return [mark for mark in reversed(self.marks) if mark.ordinal < self.ordinal]

    def _bytes_since(self, mark: Mark) -> int:
        return self.size - mark.size


class Trail:
    """Advances the fingerprint over each message that is read, and sets marks.

    The same messages give the same fingerprint in whatever answers they come, by GET or SSE, from a
    server that writes the two alike or not: each is hashed in a normal form, and without the
    ``headers.offset`` that servers add.
    """

    __slots__ = (
        "_expected",
        "_first",
        "_hash",
        "_hints",
        "_marks",
        "_newest",
        "_ordinal",
        "_recent",
        "_size",
        "_unread",
    )

    def __init__(self, position: Position, checkpoint: Checkpoint | None) -> None:
        """Begins where the answer at ``position.offset`` begins.

        Without its checkpoint, the fingerprint covers what comes from there on.
        """
        begun = position.ordinal - position.skip
        marks = checkpoint.marks if checkpoint is not None else ()
        if not marks or marks[-1][:2] != (position.offset, begun):
            checkpoint, marks = None, (Mark(position.offset, begun, 0, ""),)
        self._expected = checkpoint
        self._marks = list(marks)
        self._ordinal, self._size = marks[-1].ordinal, marks[-1].size
        self._hash = bytes.fromhex(marks[-1].fingerprint)
        self._first = checkpoint.first if checkpoint is not None else ""
        self._recent = (
            list(checkpoint.recent) if checkpoint is not None and not position.skip else []
        )
        self._unread: list[bytes] = []  # the newest messages, which may become recent ones
        self._hints: list[Mark] = []
        self._newest: str | None = None  # the offset on the last message

    def add(self, messages: list[Message]) -> None:
        """Takes the next messages of the answer."""
        if messages and not self._ordinal:
            self._first = digest(messages[0])
        self._unread = [*self._unread, *(message.raw for message in messages[-RECENT:])][-RECENT:]
        state, ordinal, size, newest = self._hash, self._ordinal, self._size, self._newest
        due = (self._hints or self._marks)[-1].size + HINT_BYTES
        for message in messages:
            raw = message.raw
            normal, offset = _normal(raw)
            if offset != newest:
                if size >= due and newest is not None and offset is not None:
                    due = self._hint(newest, ordinal, size, state)
                newest = offset
            state = _sha256(state + normal).digest()
            ordinal += 1
            size += len(raw)
        self._hash, self._ordinal, self._size, self._newest = state, ordinal, size, newest

    def _hint(self, offset: Any, ordinal: int, size: int, state: bytes) -> int:
        """Notes a place inside the answer, and gives how far the next one is to be."""
        if isinstance(offset, str) and _is_usable(offset):
            self._hints = _thin([*self._hints, Mark(offset, ordinal, size, state.hex())])
        return size + HINT_BYTES

    def move(self, offset: str) -> None:
        """The answer was complete, and the next one begins at ``offset``.

        What the messages of an answer say of offsets is the server's own, and not something that
        came along with a copied message, where the last of them says what the answer itself says.
        """
        if self._newest == offset:
            self._marks += self._hints
        if self._marks[-1].ordinal == self._ordinal:
            self._marks.pop()
        self._marks.append(Mark(offset, self._ordinal, self._size, self._hash.hex()))
        self._marks = _thin(self._marks)
        self._hints, self._newest = [], None

    @property
    def recognized(self) -> bool:
        """Whether what was read again up to the position is what had been read before.

        True also where there is nothing to compare.
        """
        expected = self._expected
        if expected is None or self._ordinal != expected.ordinal:
            return True
        return self._hash.hex() == expected.fingerprint

    def checkpoint(self, ordinal: int) -> Checkpoint | None:
        """Of the position at ``ordinal``; None where it lies beyond what is known."""
        marks = tuple(self._marks)
        if ordinal == self._ordinal:
            self._recent = [*self._recent, *map(_digest, self._unread)][-RECENT:]
            self._unread = []
            return Checkpoint(
                ordinal, self._size, self._hash.hex(), marks, self._first, tuple(self._recent)
            )
        return None if self._expected is None else self._expected._replace(marks=marks)


def advance(fingerprint: str, messages: Iterable[Message]) -> str:
    """The fingerprint after ``messages``."""
    state = bytes.fromhex(fingerprint)
    for message in messages:
        state = _sha256(state + _normal(message.raw)[0]).digest()
    return state.hex()


def digest(message: Message) -> str:
    """What one message is recognized by."""
    return _digest(message.raw)


def _digest(raw: bytes) -> str:
    return _sha256(_normal(raw)[0]).hexdigest()[:16]


def _thin(marks: Sequence[Mark]) -> list[Mark]:
    """The newest mark, and of the others each that lies about :data:`SPREAD` times farther back.

    The last of them is the first beyond :data:`DEEP_BYTES`.
    """
    size = marks[-1].size
    kept = [marks[-1]]
    for index in range(len(marks) - 2, -1, -1):
        behind = size - marks[index].size
        if behind >= DEEP_BYTES:
            kept.append(marks[index])
            break
        reach = max(SPREAD * (size - kept[-1].size), 2 * NEAR_BYTES)
        if index == 0 or size - marks[index - 1].size > reach:
            kept.append(marks[index])
    kept.reverse()
    return kept


_sha256 = hashlib.sha256


def _is_usable(offset: str) -> bool:
    """Whether an offset that came with a message can be stored, and asked for."""
    # Databases store no NUL and no half characters, which are not printable.
    return (
        offset not in ("", "-1", "now") and len(offset) <= LONGEST_OFFSET and offset.isprintable()
    )


def _number(text: str) -> int | float:
    """One value for ``100.0``, ``1E2`` and ``100``, which servers may write for one another."""
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


_decode = msgspec.json.Decoder(float_hook=_number).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def _normal(raw: bytes) -> tuple[bytes, Any]:
    """One form for all ways to write an item,
    as far as it can be read, and its ``headers.offset``.
    """
    try:
        item = _decode(raw)
        offset = item["headers"].pop("offset", None)
        return _encode(item), offset
    except (KeyError, TypeError, AttributeError):  # no message
        return _encode(item), None
    except (msgspec.MsgspecError, RecursionError, OverflowError):
        pass
    try:
        item = json.loads(raw, parse_float=_number)
        if isinstance(item, dict) and isinstance(headers := item.get("headers"), dict):
            headers.pop("offset", None)
        return json.dumps(item, sort_keys=True).encode(), None
    except (ValueError, RecursionError, OverflowError):
        return raw, None
