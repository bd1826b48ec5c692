"""Writing down, visibly, why a stream does not move."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.utils import timezone

from durable_state.errors import DurableStateError
from durable_state.models import Lease, Status, Stream

from .replay import begin_replay
from .transaction import commit_transaction

__all__ = ["record_failure", "record_stop", "replay_recreated"]

logger = logging.getLogger("durable_state.consumer")


def record_failure(stream: Stream, token: int, error: Exception, failures: int, wait: float) -> None:
    """The stream has failed so many times in a row, and will be tried again after ``wait`` seconds; its rows stay."""
    now = timezone.now()
    values = {
        "status": Status.RETRYING,
        "failures": failures,
        "retry_at": now + timedelta(seconds=wait),
        "last_error": _message(error),
        "last_error_at": now,
        "action": getattr(error, "action", "") or "Nothing to do: it is tried again by itself.",
    }
    if stream.status != Status.RETRYING:
        values["since"] = now
        logger.warning("%s: %s Trying again.", stream.name, _message(error))
    _save(stream, token, values)


def record_stop(stream: Stream, token: int, error: DurableStateError, status: Status) -> None:
    """The stream stops until somebody acts; nothing is lost, and its rows stay."""
    now = timezone.now()
    logger.error("%s: %s %s", stream.name, status.label, error)
    _save(
        stream,
        token,
        {
            "status": status,
            "since": now,
            "retry_at": None,
            "last_error": _message(error),
            "last_error_at": now,
            "action": error.action,
        },
    )


def replay_recreated(stream: Stream, token: int, error: DurableStateError) -> None:
    """Another stream lives under the URL: its state is folded beside the old rows and replaces them in one switch."""
    logger.warning("%s: %s It is folded from its start; the old rows are shown until then.", stream.name, error.message)
    with commit_transaction(stream._state.db or "default"):
        begin_replay(stream, token)


def _message(error: Exception) -> str:
    """One line that every database takes: what mappings and databases say may have line breaks, NUL, or half characters in it."""
    text = error.message if isinstance(error, DurableStateError) else f"{type(error).__name__}: {error}"
    return " ".join(text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode().split())


def _save(stream: Stream, token: int, values: dict[str, object]) -> None:
    """Only while the stream is as it was read and the lease is ours: what an operator, or our successor, did meanwhile wins."""
    using = stream._state.db
    ours = Lease.objects.using(using).filter(stream_id=stream.pk, token=token).values("stream_id")
    Stream.objects.using(using).filter(pk=stream.pk, revision=stream.revision, pk__in=ours).update(**values)
    for name, value in values.items():
        setattr(stream, name, value)
