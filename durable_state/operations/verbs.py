"""Beginning, holding and refolding a stream. Each verb is one transaction with its audit entry."""

from __future__ import annotations

from typing import Any, Literal

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from durable_state.conf import get_settings
from durable_state.consumer.replay import abandon_replay, begin_replay
from durable_state.errors import ConfigurationError, OperationRefused
from durable_state.models import Generation, Progress, Replay, Status, Stream, TableOwner
from durable_state.protocol.url import check_url, mask_query
from durable_state.registry import registry

from .intents import Intended, intended, record

__all__ = ["add", "cancel_reset", "pause", "reset", "resume"]


def add(
    name: str,
    url: str,
    *,
    actor: str,
    live: Literal["sse", "long-poll"] = "sse",
    adopt: bool = False,
    using: str = "default",
) -> Stream:
    """Adds a stream; the next worker begins to read it.

    With ``adopt`` the rows that are in its tables already become the stream's: those that it holds too are updated in place, and
    those that it does not hold are removed when it is first up to date.
    Raises: OperationRefused, for a name, a URL or a table that cannot be had.
    """
    stream = Stream(name=name, url=url, live=live)
    try:
        check_url(url, get_settings().allowed_urls)
        stream.clean_fields(
            exclude={field.name for field in Stream._meta.fields} - {"name", "url", "live"}
        )
    except ConfigurationError as error:
        raise OperationRefused(error.message, error.action) from error
    except ValidationError as error:
        raise OperationRefused(_first_line(error)) from error
    try:
        with transaction.atomic(using=using):
            record(
                using,
                name,
                "add",
                actor,
                f"{mask_query(url)}{', adopting the rows that are there' if adopt else ''}",
            )
            stream.save(using=using, force_insert=True)
            if adopt:
                _adopt(stream, using)
    except IntegrityError as error:
        raise OperationRefused(
            f"There is a stream {name!r} already.",
            f"Choose another name, or remove it first: durable_state remove {name}",
        ) from error
    return stream


def pause(stream: Stream, *, actor: str) -> None:
    """Stops consuming until ``resume``; a worker that holds the stream lets go after its current batch. Rows stay as they are."""
    with intended(stream, "pause", actor) as verb:
        _write(verb, stream, paused=True)


def resume(stream: Stream, *, actor: str) -> None:
    """Lets a paused, halted or retrying stream be consumed again at once, from the position it has.

    The error that stopped it moves to the audit entry: what ``status`` shows afterwards is what happens now.
    Raises: OperationRefused, where only a reset helps.
    """
    with intended(stream, "resume", actor) as verb:
        current, replay = verb.stream, verb.replay
        if (replay or current).status == Status.NEEDS_RESET:
            raise OperationRefused(
                f"The stream {current.name!r} cannot go on from where it was: {(replay or current).last_error}",
                f"Fold it again: durable_state reset {current.name}",
            )
        errors = [
            each.last_error for each in (current, replay) if each is not None and each.last_error
        ]
        if errors:
            verb.detail(
                f"was {'paused' if current.paused else current.status}: {'; '.join(errors)}"
            )
        if replay is not None:
            Replay.objects.using(verb.using).filter(pk=replay.pk).update(**_forgiven(replay))
        changes: dict[str, Any] = {"paused": False, "dispatched_at": None}
        if current.paused:
            changes["since"] = timezone.now()
        if current.status != Status.NEEDS_RESET:
            changes |= _forgiven(current)
        _write(verb, stream, **changes)


def reset(stream: Stream, *, actor: str, entity_type: str | None = None) -> None:
    """Folds the stream again from its start, beside the rows that are shown, which go on being kept up to date until one transaction switches.

    The whole stream is folded, also where ``entity_type`` names the type that it is done for. A reset that was under way begins anew;
    the counters are those of the new fold from the switch on; a paused stream stays paused.
    Raises: OperationRefused, when ``entity_type`` is not registered for the stream.
    """
    if entity_type is not None and registry.find(entity_type, stream.name) is None:
        known = sorted({mapping.entity_type for mapping in registry.for_stream(stream.name)})
        raise OperationRefused(
            f"No mapping is registered for the type {entity_type!r} in the stream {stream.name!r}.",
            f"Registered are: {', '.join(known) or 'none'}.",
        )
    with intended(
        stream, "reset", actor, f"for the type {entity_type}" if entity_type else ""
    ) as verb:
        begin_replay(verb.stream)
        _write(verb, stream, dispatched_at=None)


def cancel_reset(stream: Stream, *, actor: str) -> None:
    """Drops a reset that is under way; the rows stay as they are, and go on from where the stream is.

    Raises: OperationRefused, where none is under way.
    """
    with intended(stream, "cancel reset", actor) as verb:
        if not abandon_replay(verb.stream):
            raise OperationRefused(
                f"No reset of the stream {stream.name!r} is under way.",
                "There is nothing to cancel.",
            )


def _forgiven(progress: Progress) -> dict[str, Any]:
    """What lets a stream, or its replay, be tried again at once."""
    values: dict[str, Any] = {
        "failures": 0,
        "retry_at": None,
        "last_error": "",
        "last_error_detail": "",
        "last_error_type": "",
        "last_error_at": None,
        "action": "",
    }
    if progress.status in (Status.HALTED, Status.RETRYING):
        values |= {"status": Status.CATCHING_UP, "since": timezone.now()}
    return values


def _write(verb: Intended, stream: Stream, **values: Any) -> None:
    """Writes the columns, and brings the caller's object up to date with all of the row."""
    Stream.objects.using(verb.using).filter(pk=verb.stream.pk).update(**values)
    stream.refresh_from_db(using=verb.using)


def _adopt(stream: Stream, using: str) -> None:
    labels = sorted(
        {
            mapping.label
            for mapping in registry.for_stream(stream.name)
            if mapping.stream_field is None
        }
    )
    owners = TableOwner.objects.using(using)
    taken = owners.filter(model__in=labels).select_related("stream").first()
    if taken is not None:
        raise OperationRefused(
            f"The table of {taken.model} belongs to the stream {taken.stream.name!r}.",
            f"Remove that stream first (durable_state remove {taken.stream.name} --keep-rows), or give the mapping a stream_field.",
        )
    owners.bulk_create(TableOwner(model=label, stream=stream) for label in labels)
    # The first fold is staged, so that its switch compares: rows that return stay, others go, and none is missing in between.
    stream.rebuild = Generation.objects.using(using).create(
        stream=stream, purpose=Generation.Purpose.REPLAY
    )
    stream.save(using=using, update_fields=["rebuild"])


def _first_line(error: ValidationError) -> str:
    return "; ".join(
        f"{name}: {' '.join(messages)}" for name, messages in error.message_dict.items()
    )
