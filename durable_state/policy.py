"""Who may see what. Websocket, feed, REST and admin all ask here.

Why: decision 34.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Hashable, Iterable
from functools import lru_cache
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import models, router
from django.utils.module_loading import import_string

from .conf import get_settings
from .errors import ConfigurationError, MappingFault
from .feed import Audience, Sight, shown_rows
from .feed.rows import rows_by_key
from .models import DeadLetter, ParkedChange, Stream, entity_digest
from .registry import EntityMapping, registry
from .registry.relations import parents_first
from .registry.scope import rows_of_streams
from .users import identity_of

__all__ = [
    "Insight",
    "StatePolicy",
    "audience_of",
    "followed_stream",
    "get_policy",
    "hidden_columns",
    "readable_fields",
    "readable_rows",
    "readable_streams",
    "readable_values",
    "sees_whole_model",
    "sight_of",
]

logger = logging.getLogger("durable_state.policy")


class StatePolicy:
    """Who may read which streams, which of their rows, and which fields of these.

    Subclass it and name it in the setting POLICY.

    By default, a signed-in, active user may read the streams that are mapped to a model for which
    the user has the view permission (with ``durable_state.view_stream``, every stream), and sees
    only the rows of these models. The methods run in a thread and may use the ORM.
    """

    def streams(self, user: Any) -> models.QuerySet[Stream]:
        """The streams that ``user``, who may be anonymous, may read.

        The caller filters the queryset further.
        """
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
        """The rows of a stream that ``user`` may see: ``queryset`` itself, or a filter of it.

        A row that leaves the filter through a commit of the stream is shown as deleted at once, and
        one that leaves it otherwise (say, because the user left a group) within a minute. No
        slices, no ``values()``.
        """
        return queryset if _may_view(user, queryset.model) else queryset.none()

    def fields(self, user: Any, type: str) -> Collection[str] | None:
        """The wire names of the fields of an entity type that ``user`` may see; None for all.

        Keys are always shown. A user who may not see every field sees no message of the type: no
        dead letter, no parked change, no error that quotes values.
        """
        return None

    def audience(self, user: Any) -> Hashable | None:
        """A name for all users who see the same rows of every stream: say, the user's team.

        Where ``rows`` narrows, subscribers with the same name share what is read and encoded. With
        None, each user is served separately, and so is each token, if the project attaches
        something of the token to its user. Where ``rows`` does not narrow, all subscribers share in
        any case. Two users may have the same name only if ``rows`` always gives both the same.
        """
        return None


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
            f"DURABLE_STATE: POLICY {path!r} is not a StatePolicy.",
            "Subclass durable_state.StatePolicy.",
        )
    return policy


def audience_of(
    user: Any, stream: Stream, types: Collection[str] = (), keys: Collection[str] = ()
) -> Audience:
    """What ``user`` sees of a readable stream: of ``types``, or of all types if none is named; and
    of the entities with these ``keys``, or of all.

    Types that are not registered, or of which the user may see no row at all, are left out. Of the
    types that were not asked for, it only has what decides whether the user may learn of a
    transaction.
    """
    sights, others = [], []
    asked = frozenset(keys) or None
    for mapping in parents_first(registry.for_stream(stream.name)):
        is_asked = not types or mapping.entity_type in types
        try:
            every = shown_rows(mapping, stream)
        except MappingFault:  # No object stands for the stream yet, so it has no rows of the type.
            continue
        sight = _sight(user, mapping, every) if is_asked else _sight_beside(user, mapping, every)
        if sight is not None and is_asked:
            sights.append(sight._replace(keys=asked))
        elif sight is not None:
            others.append(sight)
    return Audience.of(stream, sights, _audience_name(user), others)


def sight_of(user: Any, stream: Stream, entity_type: str) -> Sight | None:
    """What ``user`` sees of one type of a readable stream; None if no row at all."""
    mapping = registry.find(entity_type, stream.name)
    if mapping is None:
        return None
    try:
        every = shown_rows(mapping, stream)
    except MappingFault:
        return None
    return _sight(user, mapping, every)


def followed_stream(user: Any, name: str) -> Stream | None:
    """The readable stream of that name, from the database that is written to.

    For callers that wait for the bell, which is named after that database; a replica would lag
    behind it. If the policy chooses a database itself, that one is used.
    """
    streams = readable_streams(user)
    if getattr(streams, "_db", None) is None:
        streams = streams.using(router.db_for_write(Stream))
    return streams.filter(name=name).first()


def readable_streams(user: Any) -> models.QuerySet[Stream]:
    """The streams that ``user`` may read."""
    return get_policy().streams(user)


def readable_rows(user: Any, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
    """The rows of a synced model that ``user`` may see.

    They belong to a readable stream, or to none (the application's own), and the policy's ``rows``
    includes them.
    """
    model = queryset.model
    streams = readable_streams(user).using(queryset.db).order_by()
    for mapping in registry.for_model(model) or registry.for_model(model._meta.concrete_model):
        queryset = queryset.filter(rows_of_streams(mapping.label, mapping.stream_column, streams))
    return get_policy().rows(user, queryset)


def sees_whole_model(user: Any, model: type[models.Model]) -> bool:
    """Whether ``user`` may see every field of every row of a synced model, now and later."""
    if hidden_columns(user, model):
        return False
    policy = get_policy()
    if _query(policy.streams(user).order_by()) != _query(Stream.objects.order_by()):
        return False
    every = model._base_manager.order_by()
    return _query(policy.rows(user, every).order_by()) == _query(every)


def readable_fields(user: Any, mapping: EntityMapping) -> frozenset[str] | None:
    """The wire names of the mapping's fields that ``user`` may see; None for all of them."""
    names = get_policy().fields(user, mapping.entity_type)
    if names is None:
        return None
    if isinstance(names, str):
        raise ConfigurationError(
            f"The policy's fields() gives the text {names!r} for {mapping.entity_type!r}.",
            "Return the wire names as a list or a set, or None for all.",
        )
    return frozenset(names)


def hidden_columns(user: Any, model: type[models.Model]) -> set[str]:
    """The names of a synced model's fields whose values ``user`` may not see.

    A field is hidden if it is hidden for any type mapped to the model, because the table does not
    tell the types apart.
    """
    hidden: set[str] = set()
    for mapping in registry.for_model(model) or registry.for_model(model._meta.concrete_model):
        seen = readable_fields(user, mapping)
        if seen is None:
            continue
        if mapping.value_field is not None:
            hidden.add(mapping.value_field)
        hidden.update(name for name, wire in mapping.wire_names.items() if wire not in seen)
    return hidden


class Insight:
    """Which values in a stream's letters, parked changes and errors ``user`` may read.

    A user who sees all rows of a type reads all of them. One who sees only some rows reads what
    concerns an entity whose row is among them; an entity without a row stays hidden, because it is
    unknown whether its row would be visible. One who sees only some fields reads nothing of the
    type, because a message has all fields. What concerns no known type is for users who see all.
    """

    def __init__(self, user: Any, stream: Stream) -> None:
        self._user = user
        self._stream = stream
        self._sights: dict[str, Sight | None] = {}

    def sees_all(self, entity_type: str = "") -> bool:
        """Whether the user sees every field of every row of the type; of all types if the given
        one is unknown.
        """
        if registry.find(entity_type, self._stream.name) is not None:
            sight = self._sight(entity_type)
            return sight is not None and sight.is_whole
        known = [mapping.entity_type for mapping in registry.for_stream(self._stream.name)]
        if not known:
            # Then no rule says who may see what.
            return bool(getattr(self._user, "is_superuser", False))
        return all(self.sees_all(each) for each in known)

    def entities(self, entity_type: str, keys: Collection[str]) -> set[str]:
        """The keys of those entities whose values the user may read."""
        if self.sees_all(entity_type):
            return set(keys)
        if registry.find(entity_type, self._stream.name) is None:
            return set()
        sight = self._sight(entity_type)
        if sight is None or sight.fields is not None:
            return set()
        return set(rows_by_key(sight.mapping, sight.rows, keys))

    def _sight(self, entity_type: str) -> Sight | None:
        if entity_type not in self._sights:
            mapping = registry.find(entity_type, self._stream.name)
            assert mapping is not None
            try:
                every = shown_rows(mapping, self._stream)
            except MappingFault:
                # It has no rows yet. Those of the whole model show which would be visible.
                every = mapping.model._base_manager.using(self._stream.using).all()
            try:
                self._sights[entity_type] = _sight(self._user, mapping, every)
            except Exception:
                # The project's policy failed, which an operator's page should survive.
                self._sights[entity_type] = None
                logger.exception(
                    "%s: the policy fails for rows of %s, so their values are hidden.",
                    self._stream.name,
                    mapping.label,
                )
        return self._sights[entity_type]


def readable_values(user: Any, found: Iterable[DeadLetter | ParkedChange]) -> set[int]:
    """The primary keys of the letters, or parked changes, whose values ``user`` may read.

    Of the others, the user may learn the type, the ordinal and the reason.
    """
    by_type: dict[tuple[int, str], list[DeadLetter | ParkedChange]] = {}
    insights: dict[int, Insight] = {}
    for each in found:
        by_type.setdefault((each.stream_id, each.type), []).append(each)
        if each.stream_id not in insights:
            insights[each.stream_id] = Insight(user, each.stream)
    readable: set[int] = set()
    for (stream, entity_type), same in by_type.items():
        insight = insights[stream]
        if insight.sees_all(entity_type):
            readable.update(each.pk for each in same)
            continue
        # The stored key is a printable form: "\\0" may be the key itself, or stand for another.
        named = [each for each in same if each.entity == entity_digest(each.type, each.key)]
        keys = insight.entities(entity_type, [each.key for each in named])
        readable.update(each.pk for each in named if each.key in keys)
    return readable


def _sight_beside(user: Any, mapping: EntityMapping, every: models.QuerySet[Any]) -> Sight | None:
    """As ``_sight``, for a type that was not asked for: if the policy fails, the type is hidden."""
    try:
        return _sight(user, mapping, every)
    except Exception:
        if mapping.label not in _failing:
            _failing.add(mapping.label)
            logger.exception(
                "The policy fails for rows of %s, so their transactions are not sent to those who"
                " read other types of its streams.",
                mapping.label,
            )
        return None


_failing: set[str] = set()
"""The models for which that was logged."""


def _sight(user: Any, mapping: EntityMapping, every: models.QuerySet[Any]) -> Sight | None:
    """The rows among ``every`` that ``user`` may see; None if no row at all."""
    rows = get_policy().rows(user, every)
    if rows is every:
        return Sight(mapping, every, narrowed=False, fields=readable_fields(user, mapping))
    rows = rows.order_by()
    query = _query(rows)
    if query is None:
        return None
    narrowed = query != _query(every)
    fields = readable_fields(user, mapping)
    return Sight(mapping, rows, narrowed, fields=fields, question=query if narrowed else None)


def _audience_name(user: Any) -> Hashable | None:
    """The name of those who share narrowed rows with this user; None for nobody."""
    name = get_policy().audience(user)
    if name is not None:
        return "audience", name
    return identity_of(user)


def _may_view(user: Any, model: type[models.Model]) -> bool:
    return bool(user.has_perm(f"{model._meta.app_label}.view_{model._meta.model_name}"))


def _query(rows: models.QuerySet[Any]) -> tuple[str, tuple[Any, ...]] | None:
    """The SQL and its parameters, by which two querysets are compared.

    None if the queryset cannot have any row.
    """
    try:
        sql, parameters = rows.query.get_compiler(using=rows.db).as_sql()
    except EmptyResultSet:
        return None
    return sql, tuple(parameters)
