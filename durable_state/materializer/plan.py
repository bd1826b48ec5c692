"""How the types of one stream are materialized, for the time of one commit."""

from __future__ import annotations

from collections.abc import Container
from datetime import UTC
from functools import cached_property
from typing import Any

from django.db import connections, models

from durable_state.conversion.charsets import character_set
from durable_state.databases import Database, find_database
from durable_state.errors import MappingFault
from durable_state.models import Stream, entity_digest
from durable_state.registry import EntityMapping

from .compiled import CompiledType, PlannedField, compile_stream, compile_type
from .ownership import Ownership
from .prospects import Prospects

__all__ = ["PlannedField", "StreamPlan", "TypePlan", "Values"]

Values = tuple[Any, ...]
"""What a row holds in its mapped columns, in the order of ``TypePlan.fields``.

In a change UNSET stands for a column that it leaves out.
"""


class TypePlan(CompiledType):
    """One entity type of one stream: what is compiled of its mapping, and the commit's own."""

    def __init__(
        self,
        mapping: EntityMapping,
        stream: Stream,
        ownership: Ownership,
        prospects: Prospects | None = None,
        compiled: CompiledType | None = None,
    ) -> None:
        self.__dict__ |= vars(compiled or compile_type(mapping, stream.name, stream.using))
        self.stream = stream
        self.ownership = ownership
        self.prospects = prospects or Prospects()

    @cached_property
    def scope(self) -> dict[str, Any]:
        """See ``EntityMapping.scope``; the database is asked when this is used first.

        Raises: MappingFault.
        """
        return self.mapping.scope(self.stream)

    @property
    def has_own_prepare(self) -> bool:
        """Whether the mapping computes its values, instead of naming where they stand."""
        return self.mapping.has_own_prepare

    @cached_property
    def database(self) -> Database:
        """Through the connection of the thread that prepares and commits."""
        return find_database(self.using)

    @cached_property
    def largest_statement(self) -> int | None:
        """Bytes of the longest statement that the database takes."""
        return self.database.largest_statement()

    @cached_property
    def is_narrow(self) -> bool:
        """Whether a column, or the key, holds some characters only."""
        fields = (self.mapping.key, *self.mapping.mapped_fields)
        return any(character_set(self.using, field) for field in fields)

    @cached_property
    def moments_elsewhere(self) -> list[PlannedField]:
        """The columns whose moments the database gives in a time zone of its own."""
        if connections[self.using].timezone in (None, UTC):
            return []
        return [each for each in self.fields if isinstance(each.field, models.DateTimeField)]

    def rows(self) -> models.QuerySet[models.Model]:
        """The shown rows of this type."""
        return self.mapping.rows(self.stream, self.using)

    def digest(self, key: str) -> str:
        """The name of an entity of this type in our tables."""
        return entity_digest(self.type, key)


class StreamPlan:
    """All types of one stream, as they are met."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.ownership = Ownership(stream)
        self.prospects = Prospects()
        self._compiled = compile_stream(stream)
        self._plans: dict[str, TypePlan] = {}
        self._without_rows: set[EntityMapping] = set()

    @cached_property
    def database(self) -> Database:
        """Through the connection of the thread that prepares and commits."""
        return find_database(self.stream.using)

    def find(self, entity_type: str) -> TypePlan | None:
        """The plan of a type; None where it is not registered for the stream.

        Raises: MappingFault, where nothing of the application stands for the stream, so that it can
        have no rows.
        """
        plan = self.compiled(entity_type)
        if plan is not None:
            _ = plan.scope
        return plan

    def compiled(self, entity_type: str) -> TypePlan | None:
        """The same, as far as the mapping alone tells: the database is not asked."""
        plan = self._plans.get(entity_type)
        if plan is None and (compiled := self._compiled.find(entity_type)) is not None:
            plan = self._plans[entity_type] = TypePlan(
                compiled.mapping, self.stream, self.ownership, self.prospects, compiled
            )
        return plan

    def all(self, among: Container[str] | None = None) -> list[TypePlan]:
        """The plans of the registered types, or of those ``among`` them, that can have rows.

        Parents precede children.
        """
        plans = []
        for mapping in self._compiled.parents_first:
            if among is not None and mapping.entity_type not in among:
                continue
            if mapping in self._without_rows or not self.ownership.has(mapping):
                continue
            try:
                plan = self.find(mapping.entity_type)
            except MappingFault:
                # Nothing of the application stands for the stream, so there are no rows; its first
                # message will say so.
                self._without_rows.add(mapping)
                continue
            if plan is not None:
                plans.append(plan)
        return plans

    def children(self, plan: TypePlan) -> list[tuple[TypePlan, PlannedField]]:
        """The types of this stream whose rows name rows of ``plan`` as parents, and the column."""
        naming = self._compiled.children(plan.mapping.model)
        plans = {each.type: each for each in self.all({of_type for of_type, _ in naming})}
        return [(plans[of_type], planned) for of_type, planned in naming if of_type in plans]
