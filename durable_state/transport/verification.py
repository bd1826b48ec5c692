"""Decides whether the URL still serves the stream that was read before. Opens no connection."""

from __future__ import annotations

from collections.abc import Mapping

from durable_state.errors import (
    AnswerRefused,
    ProtocolViolation,
    StreamGone,
    StreamRecreated,
    TransportError,
)
from durable_state.protocol import ArraySplitter, mask_query

from .answer import Answer
from .checkpoint import Checkpoint, Fingerprint
from .request import Mode, Request

__all__ = ["Verification", "recreated"]


class Verification:
    """Reads again what a checkpoint was taken of, and compares.

    With ``tail``, the answer must moreover end there: the server holds that this offset is the stream's end.
    A checkpoint that the server no longer keeps (410) proves nothing, and passes unless ``tail`` is given.
    """

    def __init__(
        self,
        url: str,
        checkpoint: Checkpoint,
        *,
        tail: str | None = None,
        silence: float,
        message_bytes: int,
    ) -> None:
        self._url = url
        self._checkpoint = checkpoint
        self._tail = tail
        self._silence = silence
        self._offset = checkpoint.offset
        self._fingerprint = Fingerprint(checkpoint.offset, checkpoint.covered)
        self._answer: Answer | None = None
        self._message_bytes = message_bytes
        self._splitter = ArraySplitter(message_bytes)
        self.settled = False

    def next_request(self) -> Request | None:
        """The request to make next, or None once the stream is recognized."""
        if self.settled:
            return None
        request = Request.read(self._url, self._offset, Mode.CATCH_UP, silence=self._silence)
        request.headers["cache-control"] = "no-cache"
        return request

    def begin(self, status: int, headers: Mapping[str, str], detail: str = "") -> None:
        """Take the head of the answer. Raises: TransportError."""
        self._splitter = ArraySplitter(self._message_bytes)
        try:
            self._answer = Answer.of(status, headers, self._url, Mode.CATCH_UP, detail)
        except StreamGone as error:
            if self._tail is not None:
                raise recreated(self._url) from error
            self.settled = True

    def feed(self, data: bytes) -> bool:
        """Take the next bytes of the body; True once enough was seen, and the answer can be dropped."""
        if not self.settled:
            self._add(data)
        return self.settled

    def end(self) -> None:
        """The body is complete. Raises: StreamRecreated."""
        answer = self._answer
        if self.settled or answer is None:
            return
        self._fingerprint.add(self._splitter.finish())
        self._judge()
        if self.settled:
            return
        if not self._splitter.complete and not answer.empty:
            raise ProtocolViolation(
                f"{mask_query(self._url)} cut its answer before the array's end.",
                "It is read again by itself.",
            )
        if (
            answer.at_tail or answer.next_offset == self._offset
        ):  # there is less than what was read before
            raise recreated(self._url)
        self._offset = answer.next_offset

    def _add(self, data: bytes) -> None:
        self._fingerprint.add(self._splitter.feed(data))
        self._judge()
        if self._splitter.too_large and not self.settled:
            raise AnswerRefused(
                f"{mask_query(self._url)} gives a message larger than MESSAGE_BYTES = "
                f"{self._message_bytes} where it was read before.",
                "Raise DURABLE_STATE['MESSAGE_BYTES'] and restart the workers, then resume.",
            )

    def _judge(self) -> None:
        assert self._answer is not None
        if self._fingerprint.count < self._checkpoint.covered:
            return
        if self._fingerprint.checkpoint() != self._checkpoint:
            raise recreated(self._url)
        if self._tail is not None and self._answer.next_offset != self._tail:
            raise recreated(self._url)
        self.settled = True


def recreated(url: str) -> TransportError:
    """The error for a URL under which another stream lives now."""
    return StreamRecreated(
        f"{mask_query(url)} serves another stream than the one read before: it was deleted and created again.",
        "It is rebuilt from its start.",
    )
