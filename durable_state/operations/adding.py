"""Adds streams, changes where they are read, and takes over rows that are there."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from durable_state.conf import get_settings
from durable_state.consumer import begin_replay, make_due
from durable_state.databases.clock import database_now
from durable_state.errors import ConfigurationError, OperationRefused
from durable_state.models import Generation, Progress, Status, Stream, TableOwner
from durable_state.protocol.url import check_url, mask_query
from durable_state.registry import registry

from .doorbells import exchange_doorbell
from .intents import intended, record
from .verbs import forgiven, write

__all__ = ["add", "adopt", "edit"]

_ASKED = {"name", "url", "live", "heartbeat_seconds"}
"""The columns of a stream that people set."""


def add(
    name: str,
    url: str,
    *,
    actor: str,
    live: str = "sse",
    adopt: bool = False,
    using: str = "default",
) -> Stream:
    """Adds a stream; the next worker begins to read it.

    With ``adopt`` the rows that its tables already have become the stream's: those that it holds
    too are updated in place, the others are removed when the stream is first up to date.
    Raises: OperationRefused, for a name, a URL or a table that the stream cannot have.
    """
    stream = Stream(name=name, url=url, live=live)
    _check(stream)
    adopting = ", adopting the rows that are there" if adopt else ""
    try:
        with transaction.atomic(using=using):
            stream.created_at = stream.since = database_now(using)
            record(using, name, "add", actor, f"{mask_query(url)}{adopting}")
            stream.save(using=using, force_insert=True)
            exchange_doorbell(stream, live)
            if adopt:
                _own_tables(stream)
                _stage_first_fold(stream)
    except IntegrityError as error:
        raise OperationRefused(
            f"There already is a stream {name!r}.",
            "Choose another name. To read that stream from another URL:"
            f" manage.py durable_state edit {name} --url URL",
        ) from error
    return stream


def edit(
    stream: Stream,
    *,
    actor: str,
    url: str | None = None,
    live: str | None = None,
    heartbeat_seconds: int | None = None,
) -> None:
    """Reads the stream from another URL, or follows its tail in another way, from now on.

    What is None stays as it is; ``heartbeat_seconds`` of 0 restores the default.

    Position and rows stay. Before anything from another URL is applied, the reader checks that it
    serves the stream that was read before; if it serves another one, that is folded from its start
    beside the rows. A stream that an error has stopped is tried again at once; a paused one stays
    paused.
    Raises: OperationRefused, for a URL that no stream may have.
    """
    heartbeat = None if heartbeat_seconds is None else _Heartbeat(heartbeat_seconds or None)
    _check(_edited(stream, url, live, heartbeat))
    with intended(stream, "edit", actor) as verb:
        current = verb.stream
        wanted = _edited(current, url, live, heartbeat)
        moved = wanted.url != current.url
        told = []
        if moved:
            told.append(f"{mask_query(current.url)} → {mask_query(wanted.url)}")
        if wanted.live != current.live:
            told.append(f"live by {wanted.get_live_display()}")
        if wanted.heartbeat_seconds != current.heartbeat_seconds:
            told.append(f"silent for {wanted.heartbeat_seconds or 'the usual'} seconds at most")
        verb.detail("; ".join(told) or "nothing changed")
        if not told:
            return

        if moved or wanted.live != current.live:
            exchange_doorbell(current, wanted.live)
        if verb.replay is not None:
            replays = type(verb.replay).objects.using(verb.using)
            replays.filter(pk=verb.replay.pk).update(**_tried_again(verb.replay, moved=moved))
        write(
            verb,
            stream,
            url=wanted.url,
            live=wanted.live,
            heartbeat_seconds=wanted.heartbeat_seconds,
            **_tried_again(current, moved=moved),
        )


class _Heartbeat(NamedTuple):
    """The heartbeat that was asked for; None within it restores the default."""

    seconds: int | None


def _edited(
    stream: Stream, url: str | None, live: str | None, heartbeat: _Heartbeat | None
) -> Stream:
    """The stream as it is to become, unsaved."""
    return Stream(
        name=stream.name,
        url=url or stream.url,
        live=live or stream.live,
        heartbeat_seconds=heartbeat.seconds if heartbeat else stream.heartbeat_seconds,
    )


def _tried_again(progress: Progress, *, moved: bool) -> dict[str, Any]:
    """The columns that have the server asked again at once.

    At another address, whatever the last one said no longer counts.
    """
    values = forgiven(progress)
    if moved and progress.status in (Status.CLOSED, Status.NEEDS_RESET):
        values |= {"status": Status.CATCHING_UP, "since": database_now(progress.using)}
    return values


def adopt(stream: Stream, *, actor: str) -> None:
    """Takes over the rows that the stream's tables already have, and continues at once.

    Rows that the stream holds too are updated in place. The others are removed in the end: when the
    stream is first up to date or, if it has been read before, by the switch of a replay.
    Raises: OperationRefused, if all tables are the stream's own, or one is another stream's.
    """
    with intended(stream, "adopt", actor) as verb:
        current = verb.stream
        if not _own_tables(current):
            raise OperationRefused(
                f"All tables of the stream {current.name!r} are its own already.",
                f"If it has stopped: manage.py durable_state resume {current.name}",
            )
        if current.ordinal == 0 and current.rebuild_id is None:
            _stage_first_fold(current)
        else:
            begin_replay(current)
        make_due([current.pk], verb.using)
        write(verb, stream, paused=False, **forgiven(current))


def _check(stream: Stream) -> None:
    """Raises: OperationRefused, for a name, a URL or a way to follow that no stream may have."""
    try:
        check_url(stream.url, get_settings().allowed_urls)
        stream.clean_fields(exclude={field.name for field in Stream._meta.fields} - _ASKED)
    except ConfigurationError as error:
        raise OperationRefused(error.message, error.action) from error
    except ValidationError as error:
        raise OperationRefused(_first_line(error)) from error


def _own_tables(stream: Stream) -> bool:
    """Makes the tables of the stream's mappings its own; False if they all were already."""
    using = stream.using
    mappings = registry.for_stream(stream.name)
    labels = {each.label for each in mappings if each.stream_field is None}
    owners = TableOwner.objects.using(using)
    found = owners.filter(model__in=labels).select_related("stream")
    known = {owner.model: owner.stream for owner in found}
    for label, owner in known.items():
        if owner.pk != stream.pk:
            raise OperationRefused(
                f"The table of {label} belongs to the stream {owner.name!r}.",
                "Remove that stream first:"
                f" manage.py durable_state remove {owner.name} --keep-rows."
                " Or give the mapping a stream_field.",
            )

    new = sorted(labels - known.keys())
    owners.bulk_create(TableOwner(model=label, stream=stream) for label in new)
    return bool(new)


def _stage_first_fold(stream: Stream) -> None:
    """Makes the first fold a rebuild, whose switch compares it with the rows.

    Rows that the stream holds stay, others go, and none is missing in between.
    """
    using = stream.using
    stream.rebuild = Generation.objects.using(using).create(
        stream=stream, purpose=Generation.Purpose.REBUILD, created_at=database_now(using)
    )
    stream.save(using=using, update_fields=["rebuild"])


def _first_line(error: ValidationError) -> str:
    told = error.message_dict.items()
    return "; ".join(f"{name}: {' '.join(messages)}" for name, messages in told)
