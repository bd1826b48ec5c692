"""The mappings of one stream, as one commit applies them."""

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
"""The mapped columns of a row, in the order of ``TypePlan.fields``.

In a change, UNSET stands for a column that the change leaves out.
"""


class TypePlan(CompiledType):
    """One entity type of one stream: its compiled mapping, and what belongs to the commit."""

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
        """See ``EntityMapping.scope``. The first access may query the database.

        Raises: MappingFault.
        """
        return self.mapping.scope(self.stream)

    @property
    def has_own_prepare(self) -> bool:
        """Whether the mapping overrides ``prepare``, so that its values are computed."""
        return self.mapping.has_own_prepare

    @cached_property
    def database(self) -> Database:
        """Through the connection of the thread that prepares and commits."""
        return find_database(self.using)

    @cached_property
    def largest_statement(self) -> int | None:
        """The longest statement that the database accepts, in bytes; None if there is no limit."""
        return self.database.largest_statement()

    @cached_property
    def is_narrow(self) -> bool:
        """Whether the key or a mapped column cannot hold every Unicode character."""
        fields = (self.mapping.key, *self.mapping.mapped_fields)
        return any(character_set(self.using, field) for field in fields)

    @cached_property
    def moments_elsewhere(self) -> list[PlannedField]:
        """The date and time columns that the database returns in a time zone other than UTC."""
        if connections[self.using].timezone in (None, UTC):
            return []
        return [each for each in self.fields if isinstance(each.field, models.DateTimeField)]

    def rows(self) -> models.QuerySet[models.Model]:
        """The shown rows of this type."""
        return self.mapping.rows(self.stream, self.using)

    def digest(self, key: str) -> str:
        """Identifies an entity of this type in this app's own tables."""
        return entity_digest(self.type, key)


class StreamPlan:
    """The plans of all types of one stream, each made when it is first needed."""

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
        """The plan of a type; None if the type is not registered for the stream.

        Raises: MappingFault, if the application has no object for the stream (see
        ``EntityMapping.scope``), so that the type cannot have rows.
        """
        plan = self.compiled(entity_type)
        if plan is not None:
            _ = plan.scope
        return plan

    def compiled(self, entity_type: str) -> TypePlan | None:
        """The same without querying the database; whether it can have rows is not checked."""
        plan = self._plans.get(entity_type)
        if plan is None and (compiled := self._compiled.find(entity_type)) is not None:
            plan = self._plans[entity_type] = TypePlan(
                compiled.mapping, self.stream, self.ownership, self.prospects, compiled
            )
        return plan

    def all(self, among: Container[str] | None = None) -> list[TypePlan]:
        """The plans of all registered types that can have rows, or of those in ``among``.

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
                # Without an object of the application for the stream, there are no rows. The
                # type's first message reports it.
                self._without_rows.add(mapping)
                continue
            if plan is not None:
                plans.append(plan)
        return plans

    def children(self, plan: TypePlan) -> list[tuple[TypePlan, PlannedField]]:
        """The types of this stream whose rows have rows of ``plan`` as parents, with the column."""
        naming = self._compiled.children(plan.mapping.model)
        plans = {each.type: each for each in self.all({of_type for of_type, _ in naming})}
        return [(plans[of_type], planned) for of_type, planned in naming if of_type in plans]
