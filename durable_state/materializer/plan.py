"""How one type of one stream is materialized: the mapping, compiled."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from functools import cached_property
from typing import Any

import msgspec
from django.db import connections, models

from durable_state.conversion import (
    converter,
    gives_back_what_it_takes,
    key_converter,
    parent_key_converter,
)
from durable_state.conversion.charsets import character_set
from durable_state.conversion.limits import largest_statement
from durable_state.errors import MappingFault
from durable_state.models import Stream, entity_digest
from durable_state.registry import EntityMapping, registry
from durable_state.registry.relations import followed_columns, parent_mapping, parents_first
from durable_state.registry.uniqueness import secondary_unique_sets

from .ownership import Ownership
from .prospects import Prospects

__all__ = ["PlannedField", "StreamPlan", "TypePlan", "Values"]

Values = tuple[Any, ...]
"""What a row holds in its mapped columns, in the order of ``TypePlan.fields``. In a change UNSET stands for a column that it leaves out."""


@dataclass(frozen=True, slots=True)
class PlannedField:
    """One mapped column, and its ``place`` in the values of a row.

    ``parent`` is the mapping that names its parents on the wire; then values are entity keys until resolved.
    ``told_by_database``: only the database tells what the column gives back for a value.
    """

    place: int
    name: str
    attname: str
    field: models.Field[Any, Any]
    convert: Callable[[Any], Any]
    parent: EntityMapping | None
    told_by_database: bool = False

    @property
    def is_relation(self) -> bool:
        """Whether a parent row must exist."""
        return isinstance(self.field, models.ForeignKey)


class TypePlan:
    """One entity type of one stream."""

    def __init__(
        self,
        mapping: EntityMapping,
        stream: Stream,
        ownership: Ownership,
        prospects: Prospects | None = None,
    ) -> None:
        self.ownership = ownership
        self.prospects = prospects or Prospects()
        self.mapping = mapping
        self.stream = stream
        self.type = mapping.entity_type
        self.using: str = stream._state.db or "default"
        self.fields = [
            _plan_field(place, mapping, field, stream)
            for place, field in enumerate(mapping.mapped_fields)
        ]
        self.by_name = {planned.name: planned for planned in self.fields}
        self.places = {planned.attname: planned.place for planned in self.fields}
        self.relations = [planned for planned in self.fields if planned.is_relation]
        self.refers_to_itself = any(
            each.field.related_model is mapping.model for each in self.relations
        )
        self.documents = [
            planned for planned in self.fields if isinstance(planned.field, models.JSONField)
        ]
        self.moments_elsewhere = (
            []
            if connections[self.using].timezone in (None, UTC)
            else [each for each in self.fields if isinstance(each.field, models.DateTimeField)]
        )
        """The columns whose moments the database gives in a time zone of its own."""
        self.told_by_python = not self.documents and not any(
            planned.told_by_database for planned in self.fields
        )
        self.unique_sets = secondary_unique_sets(mapping)
        self.followed = followed_columns(mapping)
        self.has_checks = any(
            isinstance(constraint, models.CheckConstraint)
            for constraint in mapping.model._meta.constraints
        )
        self.key_value = key_converter(mapping.key, self.using)
        self.largest_statement = largest_statement(self.using)
        self.is_narrow = any(
            character_set(self.using, field) for field in (mapping.key, *mapping.mapped_fields)
        )
        self.has_own_prepare = mapping.has_own_prepare
        exact = any(isinstance(planned.field, models.DecimalField) for planned in self.fields)
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(
            float_hook=decimal.Decimal if exact else None
        ).decode

    @cached_property
    def scope(self) -> dict[str, Any]:
        """See ``EntityMapping.scope``; the database is asked when this is used first. Raises: MappingFault."""
        return self.mapping.scope(self.stream)

    def rows(self) -> models.QuerySet[models.Model]:
        """The shown rows of this type."""
        return self.mapping.rows(self.stream, self.using)

    def digest(self, key: str) -> str:
        """The name of an entity of this type in our tables."""
        return entity_digest(self.type, key)


class StreamPlan:
    """All types of one stream, compiled as they are met."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.ownership = Ownership(stream)
        self.prospects = Prospects()
        self._plans: dict[str, TypePlan | None] = {}
        self._without_rows: set[EntityMapping] = set()

    def find(self, entity_type: str) -> TypePlan | None:
        """The plan of a type; None where it is not registered for the stream.

        Raises: MappingFault, where nothing of the application stands for the stream, so that it can have no rows.
        """
        plan = self.compiled(entity_type)
        if plan is not None:
            _ = plan.scope
        return plan

    def compiled(self, entity_type: str) -> TypePlan | None:
        """The same, as far as the mapping alone tells: the database is not asked."""
        if entity_type not in self._plans:
            mapping = registry.find(entity_type, self.stream.name)
            self._plans[entity_type] = (
                None
                if mapping is None
                else TypePlan(mapping, self.stream, self.ownership, self.prospects)
            )
        return self._plans[entity_type]

    def all(self) -> list[TypePlan]:
        """The plans of the registered types that can have rows, parents first."""
        plans = []
        for mapping in parents_first(registry.for_stream(self.stream.name)):
            if mapping in self._without_rows or not self.ownership.has(mapping):
                continue
            try:
                plan = self.find(mapping.entity_type)
            except MappingFault:
                # Nothing of the application stands for the stream, so there are no rows; its first message will say so.
                self._without_rows.add(mapping)
                continue
            if plan is not None:
                plans.append(plan)
        return plans

    def children(self, plan: TypePlan) -> list[tuple[TypePlan, PlannedField]]:
        """The types of this stream whose rows name rows of ``plan`` as parents, with the column that does."""
        return [
            (child, planned)
            for child in self.all()
            for planned in child.relations
            if planned.field.related_model is plan.mapping.model
        ]


def _plan_field(
    place: int, mapping: EntityMapping, field: models.Field[Any, Any], stream: Stream
) -> PlannedField:
    parent = parent_mapping(mapping, field, stream.name)
    if parent is not None:
        convert: Callable[[Any], Any] = parent_key_converter(parent.key, stream._state.db)
    elif isinstance(field, models.ForeignKey):
        convert = _nullable(converter(field.target_field, stream._state.db))
    else:
        convert = converter(field, stream._state.db)
    told_by_database = not gives_back_what_it_takes(field)
    return PlannedField(place, field.name, field.attname, field, convert, parent, told_by_database)


def _nullable(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda raw: None if raw is None else convert(raw)
