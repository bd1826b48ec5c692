"""Pauses, resumes and resets streams. Each verb is one transaction with its audit entry."""

from __future__ import annotations

from time import monotonic, sleep
from typing import Any

from durable_state.consumer import abandon_replay, begin_replay, holder_of, make_due
from durable_state.databases.clock import database_now
from durable_state.errors import OperationRefused
from durable_state.models import FAILING, Progress, Replay, Status, Stream
from durable_state.registry import registry
from durable_state.telemetry import ResetReason, count_reset

from .intents import Intended, intended

__all__ = ["cancel_reset", "forgiven", "pause", "reset", "resume", "wait_until_stopped", "write"]

_LOOK_SECONDS = 0.2
"""Seconds between two checks whether a worker has let go."""


def pause(stream: Stream, *, actor: str) -> None:
    """Stops consuming until ``resume``; rows stay as they are.

    A worker that holds the stream lets go after its current batch.
    """
    with intended(stream, "pause", actor) as verb:
        write(verb, stream, paused=True)


def wait_until_stopped(stream: Stream, seconds: float) -> str:
    """Waits until no worker holds the paused stream, at most ``seconds``.

    Returns who still holds it, or "". ``stream`` is refreshed, to be as the last worker left it.
    """
    using = stream.using
    until = monotonic() + seconds
    while True:
        holder = holder_of(using, stream.pk)
        if not holder or monotonic() > until:
            stream.refresh_from_db(using=using)
            return holder
        sleep(_LOOK_SECONDS)


def resume(stream: Stream, *, actor: str) -> None:
    """Has a paused, halted or retrying stream consumed again at once, from its position.

    The error that stopped it moves to the audit entry, so that ``status`` shows what happens from
    now on.
    Raises: OperationRefused, if only a reset helps.
    """
    with intended(stream, "resume", actor) as verb:
        current, replay = verb.stream, verb.replay
        decisive = replay or current
        if decisive.status == Status.NEEDS_RESET:
            raise OperationRefused(
                f"The stream {current.name!r} cannot continue from where it was:"
                f" {decisive.last_error}",
                f"Replay it: manage.py durable_state reset {current.name}",
            )

        folds = [each for each in (current, replay) if each is not None]
        errors = "; ".join(each.last_error for each in folds if each.last_error)
        if errors:
            verb.detail(f"was {'paused' if current.paused else current.status}: {errors}")

        if replay is not None:
            Replay.objects.using(verb.using).filter(pk=replay.pk).update(**forgiven(replay))
        changes: dict[str, Any] = {"paused": False}
        if current.paused:
            changes["since"] = database_now(verb.using)
        if current.status != Status.NEEDS_RESET:
            changes |= forgiven(current)
        make_due([current.pk], verb.using)
        write(verb, stream, **changes)


def reset(stream: Stream, *, actor: str, entity_type: str | None = None) -> None:
    """Folds the stream again from its start, beside the shown rows, which are kept up to date until
    one transaction replaces them.

    With ``entity_type`` only that type is folded and replaced, other rows are not touched, and the
    counters stay, except for messages that had met no mapping. Otherwise the counters become those
    of the new fold. A reset that was under way starts over; a paused stream stays paused.
    Raises: OperationRefused, if ``entity_type`` is not registered for the stream, or cannot be
    folded by itself now.
    """
    if entity_type is not None and registry.find(entity_type, stream.name) is None:
        known = sorted({mapping.entity_type for mapping in registry.for_stream(stream.name)})
        raise OperationRefused(
            f"No mapping is registered for the type {entity_type!r} in the stream {stream.name!r}.",
            f"Registered are: {', '.join(known) or 'none'}.",
        )
    detail = f"for the type {entity_type}" if entity_type else ""
    with intended(stream, "reset", actor, detail) as verb:
        if entity_type is not None:
            _require_alone(verb, entity_type)
        begin_replay(verb.stream, entity_type or "")
        write(verb, stream)
    count_reset(ResetReason.ASKED)


def _require_alone(verb: Intended, entity_type: str) -> None:
    """Raises: OperationRefused, if the type cannot be folded by itself."""
    name, replay = verb.stream.name, verb.replay
    if verb.stream.status == Status.NEEDS_RESET:
        raise OperationRefused(
            f"The stream {name!r} cannot continue from where it was: {verb.stream.last_error}",
            f"Replay all of it: manage.py durable_state reset {name}",
        )
    if replay is not None and replay.entity_type != entity_type:
        what = f"the type {replay.entity_type}" if replay.entity_type else "the whole stream"
        raise OperationRefused(
            f"A reset of {what} is under way for {name!r}.",
            f"Wait until it ends, or cancel it: manage.py durable_state reset {name} --cancel",
        )


def cancel_reset(stream: Stream, *, actor: str) -> None:
    """Drops a reset that is under way; the rows stay, and continue from where the stream is.

    Raises: OperationRefused, if no reset is under way.
    """
    with intended(stream, "cancel reset", actor) as verb:
        if not abandon_replay(verb.stream):
            raise OperationRefused(
                f"No reset of the stream {stream.name!r} is under way.",
                "There is nothing to cancel.",
            )


def forgiven(progress: Progress) -> dict[str, Any]:
    """The columns that have a stream, or its replay, tried again at once."""
    values: dict[str, Any] = {
        "failures": 0,
        "retry_at": None,
        "last_error": "",
        "last_error_detail": "",
        "last_error_type": "",
        "last_error_at": None,
        "hangs_in": "",
        "action": "",
    }
    if progress.status in (Status.HALTED, *FAILING):
        values |= {"status": Status.CATCHING_UP, "since": database_now(progress.using)}
    return values


def write(verb: Intended, stream: Stream, **values: Any) -> None:
    """Writes the columns, and refreshes the caller's object from the row."""
    Stream.objects.using(verb.using).filter(pk=verb.stream.pk).update(**values)
    stream.refresh_from_db(using=verb.using)
