"""Decides whether the URL still serves the stream that was read before. Opens no connection."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

from durable_state.errors import (
    AnswerRefused,
    ProtocolViolation,
    RequestRefused,
    StreamGone,
    StreamRecreated,
)
from durable_state.protocol import ArraySplitter, Message, mask_query

from .answer import Answer
from .backoff import pause_after_empty
from .checkpoint import RECENT, Checkpoint, Mark, advance, digest
from .request import Mode, Request

__all__ = ["Recognition", "SuspectedRecreation", "recreated", "suspected"]


class Recognition:
    """Reads again what lies between a mark and the position of its checkpoint, and compares.

    ``tail`` is an offset that the server has called the stream's end, without giving a message, so
    nothing may follow before it. A mark that the server no longer has (410), or refuses (400),
    proves nothing and passes, unless ``tail`` is given; so does a stream whose beginning was
    dropped. ``fresh`` asks in a way that no cache can answer.
    """

    def __init__(
        self,
        url: str,
        mark: Mark,
        checkpoint: Checkpoint,
        *,
        tail: str | None = None,
        silence: float | None = None,
        message_bytes: int,
        fresh: bool = False,
    ) -> None:
        self._url = url
        self._mark = mark
        self._checkpoint = checkpoint
        self._tail = tail
        self._silence = silence
        self._fresh = fresh
        self._offset = mark.offset
        self._left = checkpoint.ordinal - mark.ordinal
        self._follows = False  # whether there are messages behind what was read before
        self._recent: deque[str] | None = None
        if mark.offset == "-1" and checkpoint.first and len(checkpoint.recent) == RECENT:
            self._recent = deque(maxlen=RECENT)
        self._fingerprint = mark.fingerprint
        self._answer: Answer | None = None
        self._before_answer = self._state()
        self._brought = False  # whether the present answer brought a message
        self._empty_answers = 0  # in a row, each leading on to the next
        self._message_bytes = message_bytes
        self._splitter = ArraySplitter(message_bytes)
        self.settled = False
        self.ends_at: str | None = None
        """With ``tail``: the offset after what was read before, if nothing follows it now."""
        self.cropped = False
        """Whether the server has dropped the stream's beginning, and answers with what is left."""

    def again(self) -> Recognition:
        """The same check again, past any cache, whose answer may be older than what was read."""
        return Recognition(
            self._url,
            self._mark,
            self._checkpoint,
            tail=self._tail,
            silence=self._silence,
            message_bytes=self._message_bytes,
            fresh=True,
        )

    def next_request(self) -> Request | None:
        """The request to make next, or None once the stream is recognized."""
        if self.settled:
            return None
        # Servers ignore a cursor that they do not know, and caches keep its answers apart.
        cursor = str(time.time_ns()) if self._fresh else None
        request = Request.read(
            self._url,
            self._offset,
            Mode.CATCH_UP,
            cursor=cursor,
            silence=self._silence,
            pause=pause_after_empty(self._empty_answers),
        )
        request.headers["cache-control"] = "no-cache"
        return request

    @property
    def is_empty(self) -> bool:
        """Whether the last answer brought no message."""
        return self._empty_answers > 0

    def begin(self, status: int, headers: Mapping[str, str], detail: str = "") -> None:
        """Reads the head of the answer. Raises: TransportError."""
        self._before_answer = self._state()
        self._brought = False
        self._splitter = ArraySplitter(self._message_bytes)
        try:
            self._answer = Answer.of(status, headers, self._url, Mode.CATCH_UP, detail)
        except StreamGone as error:
            if self._tail is not None:
                raise recreated(self._url) from error
            self.settled = True
        except RequestRefused as error:
            # An offset on a message may be none that the server accepts. If it refuses the
            # position's own offset too, the read that follows says so.
            if error.status != 400 or self._fresh or self._tail is not None:
                raise
            self.settled = True

    def feed(self, data: bytes) -> bool:
        """Reads the next bytes; True once the rest of the answer is not needed."""
        if not self.settled:
            self._take(self._splitter.feed(data))
            if self._splitter.too_large and not self.settled:
                raise AnswerRefused(
                    f"{mask_query(self._url)} gives a message larger than MESSAGE_BYTES = "
                    f"{self._message_bytes} where it was read before.",
                    "Raise DURABLE_STATE['MESSAGE_BYTES'] and restart the workers, then resume.",
                )
        return self.settled

    def end(self) -> None:
        """Notes that the body is complete. Raises: StreamRecreated."""
        answer = self._answer
        if self.settled or answer is None:
            return
        self._take(self._splitter.finish())
        if self.settled:
            return
        if not self._splitter.complete and not answer.empty:
            raise ProtocolViolation(
                f"{mask_query(self._url)} cut its answer before the array's end.",
                "Retrying automatically.",
            )
        if not self._left:
            self._compare_tail(answer)
        elif answer.up_to_date or answer.next_offset == self._offset:
            # The stream holds less than what was read before.
            raise recreated(self._url)
        self._offset = answer.next_offset
        self._empty_answers = 0 if self._brought else self._empty_answers + 1

    def drop_answer(self) -> None:
        """Forgets an answer that broke off, so that the same request can be made again."""
        self._left, self._follows, self._fingerprint, recent = self._before_answer
        self._recent = None if recent is None else deque(recent, RECENT)

    def _state(self) -> tuple[int, bool, str, tuple[str, ...] | None]:
        """What is known after the last complete answer."""
        recent = None if self._recent is None else tuple(self._recent)
        return self._left, self._follows, self._fingerprint, recent

    def _compare_tail(self, answer: Answer) -> None:
        """Everything that was read before is there. Is there more, which the server withheld?"""
        if self._follows and answer.next_offset == self._tail:
            raise recreated(self._url)
        if answer.up_to_date or answer.next_offset in (self._tail, self._offset):
            self.settled = True
            self.ends_at = None if self._follows else answer.next_offset

    def _take(self, messages: list[Message]) -> None:
        assert self._answer is not None
        self._brought = self._brought or bool(messages)
        covered = messages[: self._left]
        if self._recent is not None and self._is_cropped(covered):
            self.settled = self.cropped = True
            return
        self._fingerprint = advance(self._fingerprint, covered)
        self._left -= len(covered)
        self._follows = self._follows or len(covered) < len(messages)
        if self._left:
            return
        if self._fingerprint != self._checkpoint.fingerprint:
            raise recreated(self._url)
        self.settled = self._tail is None

    def _is_cropped(self, messages: list[Message]) -> bool:
        """Whether the first message differs, and the newest ones come, but nearer to the start."""
        checkpoint, recent = self._checkpoint, self._recent
        if recent is None or not messages:
            return False
        digests = [digest(message) for message in messages]
        if self._left == checkpoint.ordinal and digests[0] == checkpoint.first:
            self._recent = None
            return False
        for number, each in enumerate(digests, checkpoint.ordinal - self._left + 1):
            recent.append(each)
            if number < checkpoint.ordinal and tuple(recent) == checkpoint.recent:
                return True
        return False


class SuspectedRecreation(StreamRecreated):
    """An answer to a read spoke of another stream. It may have come from a cache: look again."""


def recreated(url: str) -> StreamRecreated:
    """The error for a URL that serves another stream now."""
    return StreamRecreated(*_told(url))


def suspected(url: str) -> SuspectedRecreation:
    """The error for a URL that seems to serve another stream."""
    return SuspectedRecreation(*_told(url))


def _told(url: str) -> tuple[str, str]:
    what = (
        f"{mask_query(url)} serves another stream than the one that was read before: "
        "it was restored from a backup, or deleted and created again."
    )
    return what, "It is rebuilt from its start."
