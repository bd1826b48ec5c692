"""Removes streams, with or without their rows."""

from __future__ import annotations

from django.db import IntegrityError, models
from django.db.models import ProtectedError, RestrictedError

from durable_state.consumer import describe_error
from durable_state.errors import MappingFault, OperationRefused
from durable_state.materializer import remove_rows
from durable_state.models import Stream, TableOwner
from durable_state.registry import EntityMapping, registry
from durable_state.registry.relations import parents_first
from durable_state.registry.scope import one_to_one_to_stream

from .doorbells import exchange_doorbell
from .intents import intended

__all__ = ["owned_rows", "remove"]


def remove(stream: Stream, *, actor: str, keep_rows: bool = False) -> int:
    """Ends the stream, and deletes its rows unless ``keep_rows``; returns how many it deleted.

    Its position, letters, parked changes and feed go with it; the remote stream is not touched.
    Rows outside the mappings follow their ``on_delete``, and are not counted. Kept rows with a
    nullable stream field become the application's own.
    Raises: OperationRefused, without changing anything, if a protected row prevents it, or if the
    rows cannot be kept.
    """
    try:
        with intended(stream, "remove", actor) as verb:
            deleted = 0
            if keep_rows:
                for mapping, rows in owned_rows(verb.stream):
                    _detach(mapping, rows, verb.stream)
                verb.detail("keeping the rows")
            else:
                deleted = remove_rows(verb.stream)
                verb.detail(f"with {deleted} rows")
            exchange_doorbell(verb.stream)
            verb.stream.delete(using=verb.using)
    except (ProtectedError, RestrictedError) as error:
        or_keep = "" if keep_rows else ", or use --keep-rows"
        raise OperationRefused(
            f"Rows of the stream {stream.name!r} are protected: {error.args[0]}",
            f"Delete the rows that point to them first{or_keep}.",
        ) from error
    except IntegrityError as error:
        other_way = "with its rows" if keep_rows else "without its rows (--keep-rows)"
        raise OperationRefused(
            f"The database refuses to {'keep' if keep_rows else 'delete'} the rows of the stream "
            f"{stream.name!r}: {describe_error(error).sentence}",
            f"Remove the stream {other_way}, or first remove what the database names.",
        ) from error
    return deleted


def owned_rows(stream: Stream) -> list[tuple[EntityMapping, models.QuerySet[models.Model]]]:
    """The stream's rows by mapping, children before parents."""
    owners = TableOwner.objects.using(stream.using).filter(stream=stream)
    owned = set(owners.values_list("model", flat=True))
    found = []
    for mapping in reversed(parents_first(registry.for_stream(stream.name))):
        if mapping.stream_field is None and mapping.label not in owned:
            continue  # the table is another stream's, or the application's
        try:
            found.append((mapping, mapping.rows(stream)))
        except MappingFault:
            continue  # no object stands for the stream, so it can have no row
    return found


def _detach(mapping: EntityMapping, rows: models.QuerySet[models.Model], stream: Stream) -> None:
    """Makes the rows the application's own, so that no later stream of the same name has them.

    Raises: OperationRefused, if their stream field cannot be NULL.
    """
    field = mapping.stream_column
    if field is None or not _goes_with_the_stream(field) or not rows.exists():
        return
    if not field.null:
        raise OperationRefused(
            f"The rows of {mapping.model._meta.label} cannot be kept: {field.name} says whose "
            "they are, and may not be NULL.",
            f"Remove the stream with its rows, pause it instead (manage.py durable_state pause "
            f"{stream.name}), or make {field.name} nullable.",
        )
    rows.update(**{field.name: None})


def _goes_with_the_stream(field: models.Field[object, object]) -> bool:
    """Whether the rows would be deleted with the stream, prevent that, or keep its name.

    False if they belong to an object that outlives the stream, or if the model's ``on_delete`` says
    what replaces the stream.
    """
    if not isinstance(field, models.ForeignKey):
        return True
    if field.related_model is Stream:
        return field.remote_field.on_delete in _LEAVING_NOTHING
    link = one_to_one_to_stream(field.related_model)
    chain = [field, link] if isinstance(link, models.ForeignKey) else [field]
    return all(each.remote_field.on_delete is models.CASCADE for each in chain)


_LEAVING_NOTHING = (models.CASCADE, models.PROTECT, models.RESTRICT, models.DO_NOTHING)
