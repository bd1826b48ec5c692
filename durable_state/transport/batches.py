"""Cuts what is read into bounded batches, each with the position behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from durable_state.protocol import Message, Position

from .checkpoint import Checkpoint, Trail

__all__ = ["MESSAGE_BYTES", "Batch", "BatchLimits", "Batcher"]

MESSAGE_BYTES = 32 * 1024 * 1024
"""The default size of the largest message that is accepted."""


@dataclass(slots=True)
class BatchLimits:
    """The most that one batch holds: ``rows`` messages, and ``bytes`` of them unless one is larger.

    ``message_bytes`` is the size of the largest message that is accepted; ``seconds`` is how long a
    message waits at most for others. The first two may be changed while a reader reads, and apply
    to the batches that it cuts from then on.
    """

    rows: int
    bytes: int
    message_bytes: int = MESSAGE_BYTES
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Some messages in stream order, and where the reader stands after them.

    A batch without messages reports only the rest.
    """

    # Not in the repr, because asyncio prints a task's result when it sets a signal's handler.
    messages: list[Message] = field(repr=False)
    position: Position
    """Where the reader stands after the messages."""
    up_to_date: bool = False
    """Whether the tail was reached right after the messages."""
    closed: bool = False
    """Whether no message will ever follow."""
    checkpoint: Checkpoint | None = None
    """How to recognize the stream at the position."""
    bytes: int = 0
    """The size of the messages on the wire."""

    def followed_by(self, later: Batch) -> Batch:
        """This batch and the stream's next one, joined."""
        return replace(
            later, messages=self.messages + later.messages, bytes=self.bytes + later.bytes
        )


class Batcher:
    """Collects messages until a batch is full, and keeps track of the position.

    A full batch is only cut when the next message arrives, so that the last batch of an answer is
    never empty.
    """

    def __init__(
        self, position: Position, limits: BatchLimits, checkpoint: Checkpoint | None
    ) -> None:
        self._limits = limits
        self.offset, self._skip, self._ordinal = position
        self.owed = position.skip
        """How many messages of this answer were read before, and are still to be dropped."""
        self.seen = 0  # messages of this answer, dropped ones included
        self._messages: list[Message] = []
        self._bytes = 0
        self._trail = Trail(position, checkpoint)

    def skip_known(self, messages: list[Message]) -> list[Message]:
        """The messages of the answer that began at :attr:`offset`, without those read before."""
        known, messages = messages[: self.owed], messages[self.owed :]
        self.owed -= len(known)
        self._see(known)
        return messages

    @property
    def recognized(self) -> bool:
        """Whether the messages that were read before, and came again, are still the same."""
        return self._trail.recognized

    def take(self, messages: list[Message]) -> Iterator[Batch]:
        """Adds new messages of the answer; yields the batches that they fill."""
        sizes = [len(message.raw) for message in messages]
        if (
            len(self._messages) + len(sizes) <= self._limits.rows
            and self._bytes + sum(sizes) <= self._limits.bytes
        ):
            self._add(messages, sum(sizes))
            return
        for message, size in zip(messages, sizes, strict=True):
            if self._messages and (
                len(self._messages) >= self._limits.rows or self._bytes + size > self._limits.bytes
            ):
                yield self.cut()
            self._add([message], size)

    def _add(self, messages: list[Message], size: int) -> None:
        self._see(messages)
        self._messages += messages
        self._bytes += size
        self._skip += len(messages)
        self._ordinal += len(messages)

    def _see(self, messages: list[Message]) -> None:
        self.seen += len(messages)
        self._trail.add(messages)

    def move(self, offset: str) -> None:
        """Notes that the answer was complete, and that the next one begins at ``offset``."""
        self.offset, self._skip, self.seen = offset, self.owed, 0
        self._trail.move(offset)

    def cut(self, *, up_to_date: bool = False, closed: bool = False) -> Batch:
        """Returns what has been collected, as a batch."""
        position = Position(self.offset, self._skip, self._ordinal)
        checkpoint = self._trail.checkpoint(self._ordinal)
        batch = Batch(self._messages, position, up_to_date, closed, checkpoint, self._bytes)
        self._messages, self._bytes = [], 0
        return batch

    @property
    def next_number(self) -> int:
        """The number of the stream's next message; the first is number 1."""
        return self._ordinal - self.owed + 1

    @property
    def pending(self) -> bool:
        """Whether messages wait for a batch."""
        return bool(self._messages)
