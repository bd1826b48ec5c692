"""Recognizes a stream: is this still the one that was read before?

Offsets cannot tell. A stream that was restored from a backup, or deleted and created again, may
give other messages the same offsets. So the messages themselves are compared: by a fingerprint of
all of them, and by reading the newest ones again.

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
"""The least that a quick look reads again before a position, in bytes of messages."""
GATE_BYTES = 1024 * 1024
"""The most that is read again while new messages have to wait for it, in bytes."""
DEEP_BYTES = 16 * 1024 * 1024
"""The most that is read again beside the reader, in bytes; marks go back so far."""
SPREAD = 4
"""How many times farther back each older mark lies than the one after it."""
HINT_BYTES = 8 * 1024
"""Bytes between two marks inside one answer."""
RECENT = 8
"""How many messages are remembered by a digest each."""
LONGEST_OFFSET = 512
"""The longest offset of a mark, in characters. Servers should stay below 256.

Spec: PROTOCOL.md 8.
"""


class Mark(NamedTuple):
    """A place from which the stream can be read again.

    ``ordinal`` messages of ``size`` bytes lie before it; ``fingerprint`` is that of all of them.
    """

    offset: str
    ordinal: int
    size: int
    fingerprint: str


class Checkpoint(NamedTuple):
    """By what the stream before a position is recognized.

    That is the fingerprint of all its messages, and marks from which to read some of them again.
    """

    ordinal: int
    """How many messages lie before the position."""
    size: int
    """The size of these messages, in bytes."""
    fingerprint: str
    """The fingerprint of all of them."""
    marks: tuple[Mark, ...]
    """In stream order. The newest is the beginning of the answer that the position lies in, or the
    position itself; older ones get rarer the farther back they are.
    """
    first: str = ""
    """The digest of the stream's first message; "" if it is not known."""
    recent: tuple[str, ...] = ()
    """The digests of the newest few messages.

    A server that has dropped a stream's beginning may answer a request for the start with what is
    left.
    """

    def near(self) -> Mark | None:
        """Where a quick look begins; None if it would take too long, or if nothing was read."""
        gate = [mark for mark in self._before() if self.size - mark.size <= GATE_BYTES]
        return next((mark for mark in gate if self._bytes_since(mark) >= NEAR_BYTES), None) or (
            gate[-1] if gate else None
        )

    def deep(self) -> Mark | None:
        """Where a long look begins: as far back as allowed, or at a longer last answer's start."""
        before = self._before()
        within = [mark for mark in before if self._bytes_since(mark) <= DEEP_BYTES]
        if within and (len(within) == len(before) or self._bytes_since(within[-1]) >= NEAR_BYTES):
            return within[-1]
        in_the_middle = self.marks[-1].ordinal < self.ordinal
        if len(within) == len(before) or in_the_middle:  # resuming re-reads a long answer anyway
            return within[-1] if within else None
        return before[len(within)]

    def any_before(self) -> Mark | None:
        """Where a quick look begins, even if it takes long."""
        return self.near() or next(iter(self._before()), None)

    def follows(self, before: Checkpoint | None, messages: Sequence[Message]) -> bool:
        """Whether its messages are those of ``before``, followed by ``messages``."""
        begun = "" if before is None else before.fingerprint
        return self.fingerprint == advance(begun, messages)

    def dump(self) -> dict[str, Any]:
        """The checkpoint as JSON."""
        return self._asdict() | {"marks": [list(mark) for mark in self.marks]}

    @classmethod
    def load(cls, stored: Mapping[str, Any] | None) -> Self | None:
        """The checkpoint that :meth:`dump` returned."""
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

    The same messages have the same fingerprint however they are spread over answers, and even if a
    server writes them differently for GET and SSE: each is hashed in a normal form, without the
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

        Without a checkpoint for it, the fingerprint only covers what comes from there on.
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
        self._unread: list[bytes] = []  # the newest messages, without their digests yet
        self._hints: list[Mark] = []
        self._newest: str | None = None  # the offset on the last message

    def add(self, messages: list[Message]) -> None:
        """Adds the next messages of the answer."""
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
        """Notes a place inside the answer; returns the size at which the next one is due."""
        if isinstance(offset, str) and _is_usable(offset):
            self._hints = _thin([*self._hints, Mark(offset, ordinal, size, state.hex())])
        return size + HINT_BYTES

    def move(self, offset: str) -> None:
        """Notes that the answer was complete, and that the next one begins at ``offset``.

        Offsets inside the messages count only if the last one agrees with ``offset``: then they are
        the server's own, and did not come along with copied messages.
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
        """Whether the messages that were read again, up to the position, are the same as before.

        True also if there is nothing to compare.
        """
        expected = self._expected
        if expected is None or self._ordinal != expected.ordinal:
            return True
        return self._hash.hex() == expected.fingerprint

    def checkpoint(self, ordinal: int) -> Checkpoint | None:
        """The checkpoint of the position at ``ordinal``; None if too little is known for one."""
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
    """The digest by which one message is recognized."""
    return _digest(message.raw)


def _digest(raw: bytes) -> str:
    return _sha256(_normal(raw)[0]).hexdigest()[:16]


def _thin(marks: Sequence[Mark]) -> list[Mark]:
    """The marks to keep: the newest, and others about :data:`SPREAD` times farther back each.

    The oldest that is kept is the first one beyond :data:`DEEP_BYTES`.
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
    """Whether an offset that came with a message can be stored, and requested."""
    # What databases cannot store, NUL and lone surrogates, is not printable.
    return (
        offset not in ("", "-1", "now") and len(offset) <= LONGEST_OFFSET and offset.isprintable()
    )


def _number(text: str) -> int | float:
    """The same value for ``100.0``, ``1E2`` and ``100``, which servers may take for one another."""
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


_decode = msgspec.json.Decoder(float_hook=_number).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def _normal(raw: bytes) -> tuple[bytes, Any]:
    """A form that does not depend on how an item is written, as far as it can be read, and the
    item's ``headers.offset``.
    """
    try:
        item = _decode(raw)
        offset = item["headers"].pop("offset", None)
        return _encode(item), offset
    except (KeyError, TypeError, AttributeError):  # no message
        return _encode(item), None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError):
        pass
    try:
        item = json.loads(raw, parse_float=_number)
        if isinstance(item, dict) and isinstance(headers := item.get("headers"), dict):
            headers.pop("offset", None)
        return json.dumps(item, sort_keys=True).encode(), None
    except (ValueError, RecursionError, OverflowError):
        return raw, None
