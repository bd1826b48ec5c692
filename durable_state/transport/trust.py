"""Tracks whether the stream that is read is still the one that was read before.

Why: decisions 29 and 58.
"""

from __future__ import annotations

from enum import Enum, auto

from .checkpoint import Checkpoint, Mark
from .recognition import Recognition, recreated

__all__ = ["Doubt", "Trust"]


class Doubt(Enum):
    """Why the stream may have been replaced by another one."""

    QUIET = auto()  # a live answer ended without messages, as it does when the stream is deleted
    MOVED = auto()  # the server gives nothing, and names a tail other than the position


class Trust:
    """The newest checkpoint that is trusted, and what has cast doubt on it since."""

    def __init__(
        self,
        url: str,
        checkpoint: Checkpoint | None,
        *,
        silence: float | None,
        message_bytes: int,
    ) -> None:
        self.doubt: Doubt | None = None
        self._url = url
        self._checkpoint = checkpoint
        self._silence = silence
        self._message_bytes = message_bytes
        self._tail = ""  # the offset that the server calls the tail, if that is in doubt
        self._has_gone_on = False  # whether the stream went on while it was compared

    def doubt_quiet(self) -> None:
        """Notes that a live answer has ended without messages."""
        self.doubt = self.doubt or Doubt.QUIET

    def doubt_moved(self, tail: str) -> None:
        """Notes that the server gives nothing, and names a ``tail`` other than the position."""
        self.doubt, self._tail = Doubt.MOVED, tail

    def near(self) -> Recognition | None:
        """A quick check of what was read last; None if there is nothing to compare."""
        mark = None if self._checkpoint is None else self._checkpoint.near()
        return None if mark is None else self._recognize(mark)

    def any_before(self) -> Recognition | None:
        """The same check, however long it takes."""
        mark = None if self._checkpoint is None else self._checkpoint.any_before()
        return None if mark is None else self._recognize(mark)

    def check(self, *, brings_messages: bool) -> Recognition | None:
        """The check to make before a batch may be used; None if there is no doubt.

        Raises: StreamRecreated, if the stream was certainly replaced.
        """
        if self.doubt is Doubt.MOVED:
            check = self.any_before()
            if check is None:
                raise recreated(self._url)
            return check
        return self.near() if self.doubt is Doubt.QUIET and brings_messages else None

    def ends_at(self, check: Recognition | None) -> str | None:
        """Where the stream ends by a check that passed after the tail had moved.

        None, where it has gone on meanwhile, the first time. Raises: StreamRecreated.
        """
        if check is not None and check.ends_at is not None:
            return check.ends_at
        if self._has_gone_on:
            raise recreated(self._url)
        self._has_gone_on = True
        return None

    def renew(self, checkpoint: Checkpoint | None) -> None:
        """What was read up to here is of the stream that was read before."""
        self._checkpoint = checkpoint
        self.doubt, self._has_gone_on = None, False

    def _recognize(self, mark: Mark) -> Recognition:
        assert self._checkpoint is not None
        return Recognition(
            self._url,
            mark,
            self._checkpoint,
            tail=self._tail if self.doubt is Doubt.MOVED else None,
            silence=self._silence,
            message_bytes=self._message_bytes,
        )
