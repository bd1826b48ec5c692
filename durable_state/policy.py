"""Who may see what: asked by websocket, REST and admin alike."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import models
from django.utils.module_loading import import_string

from .conf import get_settings
from .errors import ConfigurationError, MappingFault
from .feed import Audience, Sight, shown_rows
from .models import Stream
from .registry import registry
from .registry.relations import parents_first

__all__ = ["StatePolicy", "audience_of", "get_policy"]


class StatePolicy:
    """Who may read which streams, and which of their rows. Subclass it and name it in the setting POLICY.

    The default: a signed-in, active user reads the streams that a model is mapped for which the user has the view permission of (with
    ``durable_state.view_stream``, every stream), and of those streams the rows of just these models. Methods run in a thread and may
    use the ORM.
    """

    def streams(self, user: Any) -> models.QuerySet[Stream]:
        """The streams that ``user`` (anonymous ones included) may read. The queryset is filtered further."""
        if not user.is_authenticated or not user.is_active:
            return Stream.objects.none()
        if user.has_perm("durable_state.view_stream"):
            return Stream.objects.all()
        mappings = [mapping for mapping in registry if _may_view(user, mapping.model)]
        if any(mapping.streams is None for mapping in mappings):
            return Stream.objects.all()
        if not mappings:
            return Stream.objects.none()
        names = Stream.objects.values_list("pk", "name")
        return Stream.objects.filter(
            pk__in=[pk for pk, name in names if any(mapping.serves(name) for mapping in mappings)]
        )

    def rows(self, user: Any, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """Those of the stream's rows in ``queryset`` (of ``queryset.model``) that ``user`` may see: itself, or a filter of it.

        A row that leaves the filter by a commit of the stream is shown as deleted at once; one that leaves it otherwise (say, because
        the user left a group) within a minute. No slices, no ``values()``.
        """
        return queryset if _may_view(user, queryset.model) else queryset.none()


def get_policy() -> StatePolicy:
    """The policy in force. Raises: ConfigurationError."""
    return _policy(get_settings().policy)


@lru_cache(maxsize=8)
def _policy(path: str) -> StatePolicy:
    try:
        policy = import_string(path)()
    except (ImportError, TypeError) as error:
        raise ConfigurationError(
            f"DURABLE_STATE: POLICY {path!r} cannot be used: {error}", "Name a StatePolicy class."
        ) from error
    if not isinstance(policy, StatePolicy):
        raise ConfigurationError(
            f"DURABLE_STATE: POLICY {path!r} is no StatePolicy.",
            "Subclass durable_state.StatePolicy.",
        )
    return policy


def audience_of(user: Any, stream: Stream, types: Collection[str] = ()) -> Audience:
    """What ``user`` sees of a stream that it may read: of ``types``, or of all types where none is named.

    A type that is not registered, or of which the user may see no row at all, is not in it.
    """
    sights = []
    for mapping in parents_first(registry.for_stream(stream.name)):
        if types and mapping.entity_type not in types:
            continue
        try:
            every = shown_rows(mapping, stream)
        except MappingFault:  # Nothing stands for the stream yet, so it has no rows of this type.
            continue
        rows = get_policy().rows(user, every)
        if rows is every:
            sights.append(Sight(mapping, every, narrowed=False))
        elif (query := _query(rows := rows.order_by())) is not None:
            sights.append(Sight(mapping, rows, narrowed=query != _query(every)))
    return Audience.of(stream, sights)


def _may_view(user: Any, model: type[models.Model]) -> bool:
    return bool(user.has_perm(f"{model._meta.app_label}.view_{model._meta.model_name}"))


def _query(rows: models.QuerySet[Any]) -> tuple[str, tuple[Any, ...]] | None:
    """The SQL and its parameters, which tell whether two querysets ask the same; None where it can have no row."""
    try:
        sql, parameters = rows.query.get_compiler(using=rows.db).as_sql()
    except EmptyResultSet:
        return None
    return sql, tuple(parameters)
