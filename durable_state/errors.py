"""Everything this package raises on purpose.

    DurableStateError
    ├── ConfigurationError        a setting or a mapping is wrong; a person has to change it
    ├── OperationRefused          a verb could not be carried out (no such stream, ...)
    ├── LeaseLost                 another worker holds the stream now; stop quietly
    ├── RevisionConflict          the stream's row was changed by someone else; read it again
    ├── StreamHalted              consuming stops until a person acts
    │   ├── MappingFault          a mapping fails, or does not fit its table
    │   ├── TableNotOwned         the rows of the table belong to someone else
    │   └── TooManyDeadLetters    DEAD_LETTER_LIMIT would be passed
    └── TransportError            the stream server's answer, or the lack of one
        ├── Unavailable           network, timeout, 429, 5xx: retried for ever
        │   ├── Silent            the server was silent for longer than it may be: retried
        │   ├── Stalled           the server keeps answering without progress: retried
        │   └── ProtocolViolation the answer breaks the protocol (a cut body): retried
        ├── RequestRefused        400, 401, 403, 413, redirects: halts
        │   └── NotJson           the stream's content type is not application/json
        ├── AnswerRefused         too large, or in an unsupported content coding: halts
        ├── StreamNotFound        404
        ├── StreamGone            410: the server no longer has the stream, or the offset
        ├── StreamRecreated       there is another stream under the same URL
        └── StreamConflict        409 on create or append
            └── StreamClosed      409 on append: the stream is closed

All classes take only positional arguments and survive pickling, so that Celery can carry them.
``message`` says what happened and where, ``action`` what to do about it.
"""

from __future__ import annotations

from typing import Self

__all__ = [
    "AnswerRefused",
    "ConfigurationError",
    "DurableStateError",
    "LeaseLost",
    "MappingFault",
    "NotJson",
    "OperationRefused",
    "ProtocolViolation",
    "RequestRefused",
    "RevisionConflict",
    "Silent",
    "Stalled",
    "StreamClosed",
    "StreamConflict",
    "StreamGone",
    "StreamHalted",
    "StreamNotFound",
    "StreamRecreated",
    "TableNotOwned",
    "TooManyDeadLetters",
    "TransportError",
    "Unavailable",
]


class DurableStateError(Exception):
    """The base class: ``message`` says what happened,
    ``action`` what to do about it (empty if nothing needs to be done).
    """

    def __init__(self, message: str = "", action: str = "") -> None:
        super().__init__(message, action)
        self.message = message
        self.action = action

    def __str__(self) -> str:
        return f"{self.message} {self.action}".strip()


class ConfigurationError(DurableStateError):
    """A setting or a mapping is wrong."""


class OperationRefused(DurableStateError):
    """A verb could not be carried out; nothing was changed."""


class LeaseLost(DurableStateError):
    """The lease on a stream belongs to another worker now."""


class RevisionConflict(DurableStateError):
    """Somebody else has moved the stream: its revision or position is not the one that was read."""


class StreamHalted(DurableStateError):
    """Consuming stops, visibly, until a person acts. Nothing of the batch was committed.

    ``message`` quotes no value of a row, because everyone who may read the stream sees it.
    ``detail`` may: it is shown only to users who see all rows of ``entity_type``, or of every type
    if that is empty.
    """

    def __init__(
        self, message: str = "", action: str = "", detail: str = "", entity_type: str = ""
    ) -> None:
        super().__init__(message, action)
        self.detail = detail
        self.entity_type = entity_type
        self.args = (message, action, detail, entity_type)


class MappingFault(StreamHalted):
    """A mapping raised an unexpected exception, or it does not fit its table."""


class TableNotOwned(StreamHalted):
    """The table holds rows that are not this stream's."""


class TooManyDeadLetters(StreamHalted):
    """With this batch, the stream would have more than ``DEAD_LETTER_LIMIT`` dead letters."""

    @classmethod
    def after(
        cls,
        name: str,
        ordinal: int,
        count: int,
        limit: int,
        reason: str,
        detail: str = "",
        entity_type: str = "",
    ) -> Self:
        """Returns the error for a batch after ``ordinal`` that brings ``count`` dead letters,
        or that many before it was given up.

        ``reason`` is the reason code of the last one, ``detail`` its sentence.
        """
        return cls(
            f"{name}: the batch after message {ordinal} would bring {count} dead letters, "
            f"more than DEAD_LETTER_LIMIT = {limit}; the last was refused as {reason}.",
            "Fix the mapping (or raise the limit), then resume. "
            "Nothing of the batch was committed.",
            detail,
            entity_type,
        )


class TransportError(DurableStateError):
    """The stream server gave an error, or no answer.

    ``status`` is the HTTP status, or None if there was no answer.
    """

    def __init__(self, message: str = "", action: str = "", status: int | None = None) -> None:
        super().__init__(message, action)
        self.status = status
        self.args = (message, action, status)


class Unavailable(TransportError):
    """No answer, 429 or 5xx. ``retry_after`` is how long the server asks to wait, in seconds."""

    def __init__(
        self,
        message: str = "",
        action: str = "",
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, action, status)
        self.retry_after = retry_after
        self.args = (message, action, status, retry_after)


class Silent(Unavailable):
    """The server was silent for longer than it may be."""


class Stalled(Unavailable):
    """The server keeps answering without making progress, for ``seconds`` by now."""

    def __init__(
        self,
        message: str = "",
        action: str = "",
        status: int | None = None,
        retry_after: float | None = None,
        seconds: float = 0.0,
    ) -> None:
        super().__init__(message, action, status, retry_after)
        self.seconds = seconds
        self.args = (message, action, status, retry_after, seconds)


class ProtocolViolation(Unavailable):
    """The answer breaks the protocol: a body that was cut, a header that is missing."""


class RequestRefused(TransportError):
    """400, 401, 403, 413 or a redirect: asking again will not help."""


class NotJson(RequestRefused):
    """The stream exists, but its content type is not ``application/json``."""


class AnswerRefused(TransportError):
    """The answer has an unsupported content coding, or a message that is too large."""


class StreamNotFound(TransportError):
    """404: there is no stream at the URL."""


class StreamGone(TransportError):
    """410: the server no longer has the stream, or not from our offset on."""


class StreamRecreated(TransportError):
    """The URL serves another stream than before."""


class StreamConflict(TransportError):
    """409: the stream exists with another configuration, or refuses the append."""


class StreamClosed(StreamConflict):
    """409 with ``Stream-Closed``: the stream accepts no more messages."""
