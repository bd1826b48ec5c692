"""Tells by a row's stream field which stream the row belongs to."""

from __future__ import annotations

from typing import Any

from django.db import models

from durable_state.errors import MappingFault
from durable_state.models import Stream, TableOwner

__all__ = ["one_to_one_to_stream", "rows_of_streams", "stream_of", "stream_scope"]

_NAMES = 500
"""The most streams that a query lists by name."""


def one_to_one_to_stream(model: type[models.Model]) -> models.Field[Any, Any] | None:
    """The field by which an object of ``model`` stands for one stream; None if there is none."""
    for field in model._meta.concrete_fields:
        if isinstance(field, models.OneToOneField) and field.related_model is Stream:
            return field
    return None


def stream_scope(field: models.Field[Any, Any] | None, stream: Stream) -> dict[str, Any]:
    """``{attname: value}`` of the stream's rows; empty if all rows of the table are the stream's.

    Raises: MappingFault, if the object that stands for the stream does not exist.
    """
    if field is None:
        return {}
    if not isinstance(field, models.ForeignKey):
        return {field.attname: stream.name}

    target = field.target_field.attname
    if field.related_model is Stream:
        return {field.attname: getattr(stream, target)}

    owner_model = field.related_model
    link = one_to_one_to_stream(owner_model)
    if link is None:
        raise MappingFault(
            f"The stream_field {field} points to {owner_model!r}, which stands for no stream.",
            "Give that model a OneToOneField to durable_state.Stream.",
        )
    value = (
        owner_model._base_manager.using(stream.using)
        .filter(**{link.name: stream.pk})
        .values_list(target, flat=True)
        .first()
    )
    if value is None:
        label = owner_model._meta.label
        raise MappingFault(
            f"No {label} stands for the stream {stream.name!r}, "
            f"so {field.model._meta.label} rows cannot belong to it.",
            f"Create the {label} whose {link.name} is this stream, then resume.",
        )
    return {field.attname: value}


def stream_of(field: models.Field[Any, Any] | None, row: models.Model) -> str | None:
    """The name of the stream that a synced row belongs to; None for the application's own."""
    using = row._state.db
    if field is None:
        owners = TableOwner.objects.using(using).filter(model=row._meta.label_lower)
        return owners.values_list("stream__name", flat=True).first()

    value: Any = getattr(row, field.attname)
    if value is None or not isinstance(field, models.ForeignKey):
        return value  # type: ignore[no-any-return]
    target = field.target_field.name
    if field.related_model is not Stream:
        link = one_to_one_to_stream(field.related_model)
        assert isinstance(link, models.OneToOneField)  # or the mapping would have no rows
        target = f"{link.related_query_name()}__{target}"
    streams = Stream.objects.using(using).filter(**{target: value})
    return streams.values_list("name", flat=True).first()


def rows_of_streams(
    label: str, field: models.Field[Any, Any] | None, streams: models.QuerySet[Stream]
) -> models.Q:
    """Selects the rows of a synced model that belong to one of the streams, or to none at all."""
    if field is None:
        owner = TableOwner.objects.using(streams.db).filter(model=label)
        hidden = owner.exclude(stream__in=streams.values("pk"))
        return ~models.Q(models.Exists(hidden))

    own = models.Q(**{f"{field.name}__isnull": True})
    if not isinstance(field, models.ForeignKey):
        # A few names are passed as parameters, because MySQL may not compare two text columns of
        # different collations. Many would be more parameters than a statement takes.
        names: Any = list(streams.values_list("name", flat=True)[: _NAMES + 1])
        if len(names) > _NAMES:
            names = streams.values("name")
        return own | models.Q(**{f"{field.name}__in": names})

    target = field.target_field.name
    if field.related_model is Stream:
        return own | models.Q(**{f"{field.name}__in": streams.values(target)})

    link = one_to_one_to_stream(field.related_model)
    if link is None:
        return own  # a system check reports it
    belongs = models.Q(**{f"{link.name}__in": streams.values("pk")})
    belongs |= models.Q(**{f"{link.name}__isnull": True})
    owners = field.related_model._base_manager.using(streams.db).filter(belongs)
    return own | models.Q(**{f"{field.name}__in": owners.values(target)})
