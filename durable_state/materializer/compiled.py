"""Mappings, compiled once per process: everything that no commit and no row can change.

The caches are keyed by the registered mappings and the database's alias, so a registry that has
changed, another database or another stream never gets what was compiled for others.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from django.db import models

from durable_state.conversion import (
    converter,
    gives_back_what_it_takes,
    key_converter,
    parent_key_converter,
    read_number,
)
from durable_state.databases.plain_sql import RowReader
from durable_state.models import Stream, entity_digest
from durable_state.registry import EntityMapping, registry
from durable_state.registry.columns import parent_model
from durable_state.registry.relations import followed_columns, parents_first
from durable_state.registry.uniqueness import secondary_unique_sets
from durable_state.registry.written import is_shown_as_written

__all__ = ["CompiledStream", "CompiledType", "PlannedField", "compile_stream", "compile_type"]

TYPES = 4096
"""How many compiled types a process keeps."""
STREAMS = 4096
"""How many compiled streams a process keeps."""


@dataclass(frozen=True, slots=True)
class PlannedField:
    """One mapped column."""

    place: int
    """Its place in the values of a row."""
    name: str
    attname: str
    field: models.Field[Any, Any]
    convert: Callable[[Any], Any]
    """Converts a wire value to the field's value. Raises: Refused."""
    parent: EntityMapping | None
    """The mapping of its parents, if any. Values are entity keys until parents are looked up."""
    told_by_database: bool = False
    """Whether only the database knows what the column returns for a value that was written."""

    @property
    def is_relation(self) -> bool:
        """Whether a parent row must exist."""
        return isinstance(self.field, models.ForeignKey)

    @property
    def parent_model(self) -> type[models.Model] | None:
        """The model of the parent rows; None if the column names no parent."""
        return parent_model(self.field)


class CompiledType:
    """One mapping, compiled for one database and for streams with the same parent mappings."""

    def __init__(
        self,
        mapping: EntityMapping,
        using: str | None,
        parents: Sequence[EntityMapping | None],
    ) -> None:
        """``parents`` has one entry per mapped field: the mapping of its parents, or None."""
        self.mapping = mapping
        self.type = mapping.entity_type
        self.using = using or "default"
        self.digest_of_type = entity_digest(self.type, "")
        """Identifies the type in this app's own tables."""

        fields = zip(mapping.mapped_fields, parents, strict=True)
        self.fields = [
            _plan_field(place, field, parent, using) for place, (field, parent) in enumerate(fields)
        ]
        self.by_name = {planned.name: planned for planned in self.fields}
        self.places = {planned.attname: planned.place for planned in self.fields}

        self.relations = [planned for planned in self.fields if planned.is_relation]
        self.named_parents = [each for each in self.relations if each.parent is not None]
        """Those relations whose parents are mapped, so that the wire names them by entity key."""
        self.refers_to_itself = any(each.parent_model is mapping.model for each in self.relations)
        self.unique_sets = secondary_unique_sets(mapping)
        self.followed = followed_columns(mapping)
        self.has_checks = any(
            isinstance(constraint, models.CheckConstraint)
            for constraint in mapping.model._meta.constraints
        )

        self.documents = [
            planned for planned in self.fields if isinstance(planned.field, models.JSONField)
        ]
        self.told_by_python = not self.documents and not any(
            planned.told_by_database for planned in self.fields
        )
        self.is_shown_as_written = is_shown_as_written(mapping) and not any(
            planned.told_by_database for planned in self.fields
        )
        """Whether ``represent`` shows just the written values, with entity keys for parents."""

        self.row_reader = RowReader([mapping.model._meta.pk, mapping.key, *mapping.mapped_fields])
        """Reads a row's primary key, key and mapped columns."""
        self.parent_readers = {each: RowReader(_parent_columns(each)) for each in self.relations}
        """By relation, reads a parent's name on the wire, and what a child's column holds."""
        self.may_go_direct = _may_go_direct(self)
        """Whether the mapping allows rows to be written directly, without the fold."""
        self.is_childless = _is_childless(mapping.model)
        """Whether no relation of any model can point to its rows."""

        self.key_value = key_converter(mapping.key, using)
        exact = any(isinstance(planned.field, models.DecimalField) for planned in self.fields)
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(
            float_hook=decimal.Decimal if exact else read_number
        ).decode


class CompiledStream:
    """The types of a stream, each compiled when first needed, and which are parents of which."""

    def __init__(self, stream_name: str, using: str | None) -> None:
        self._name, self._using = stream_name, using
        served = registry.for_stream(stream_name)
        self.parents_first = parents_first(served)
        """The mappings, in an order in which parents precede children."""
        self._mappings = {mapping.entity_type: mapping for mapping in reversed(served)}
        self._types: dict[str, CompiledType] = {}
        self._children: dict[type[models.Model], list[tuple[str, PlannedField]]] = {}

    def find(self, entity_type: str) -> CompiledType | None:
        """The compiled type; None if it is not registered."""
        known = self._types.get(entity_type)
        if known is None and (mapping := self._mappings.get(entity_type)) is not None:
            known = self._types[entity_type] = compile_type(mapping, self._name, self._using)
        return known

    def children(self, model: type[models.Model]) -> list[tuple[str, PlannedField]]:
        """The types whose rows have rows of the model as parents, each with the column."""
        if model not in self._children:
            self._children[model] = [
                (mapping.entity_type, planned)
                for mapping in self.parents_first
                for planned in compile_type(mapping, self._name, self._using).relations
                if planned.parent_model is model
            ]
        return self._children[model]


def compile_stream(stream: Stream) -> CompiledStream:
    """The types that are registered for the stream now."""
    return _compile_stream(stream.name, stream.using, tuple(registry))


def compile_type(mapping: EntityMapping, stream_name: str, using: str | None) -> CompiledType:
    """The mapping, with its parents as that stream maps them."""
    parents = tuple(mapping.parent_mapping(each, stream_name) for each in mapping.mapped_fields)
    return _compile_type(mapping, using, parents)


@lru_cache(maxsize=STREAMS)
def _compile_stream(
    stream_name: str, using: str | None, registered: tuple[EntityMapping, ...]
) -> CompiledStream:
    """``registered`` is only a part of the cache key: it changes with the registry."""
    return CompiledStream(stream_name, using)


_compile_type = lru_cache(maxsize=TYPES)(CompiledType)


def _parent_columns(planned: PlannedField) -> list[models.Field[Any, Any]]:
    target = planned.field.target_field  # type: ignore[attr-defined]
    return [target if planned.parent is None else planned.parent.key, target]


def _may_go_direct(compiled: CompiledType) -> bool:
    readers = [compiled.row_reader, *compiled.parent_readers.values()]
    return (
        compiled.mapping.model._meta.managed  # or a constraint may be declared that is not there
        and not compiled.followed
        and not isinstance(compiled.mapping.key, models.AutoField)
        and not any(planned.told_by_database for planned in compiled.fields)
        and all(_is_read_plainly(field) for reader in readers for field in reader.fields)
    )


def _is_read_plainly(field: models.Field[Any, Any]) -> bool:
    """Whether a SELECT reads the column by its name alone, without an expression around it."""
    is_plain = type(field).select_format is models.Field.select_format
    return field.column is not None and is_plain


def _is_childless(model: type[models.Model]) -> bool:
    meta = model._meta
    pointing = (each for each in meta.get_fields(include_hidden=True) if each.auto_created)
    return not (meta.parents or meta.private_fields or any(not each.concrete for each in pointing))


def _plan_field(
    place: int, field: models.Field[Any, Any], parent: EntityMapping | None, using: str | None
) -> PlannedField:
    if parent is not None:
        convert: Callable[[Any], Any] = parent_key_converter(parent.key, using)
    elif isinstance(field, models.ForeignKey):
        convert = _nullable(converter(field.target_field, using))
    else:
        convert = converter(field, using)
    told_by_database = not gives_back_what_it_takes(field)
    return PlannedField(place, field.name, field.attname, field, convert, parent, told_by_database)


def _nullable(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda raw: None if raw is None else convert(raw)
