"""What is compiled of mappings once per process: all that neither a commit nor a row can change.

Kept by the registry's mappings themselves and by the database's alias, so that a registry that
changes, another database or another stream never gets what was compiled for others.
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
"""Compiled types that a process keeps."""
STREAMS = 4096
"""Streams of which it keeps what types they have."""


@dataclass(frozen=True, slots=True)
class PlannedField:
    """One mapped column."""

    place: int
    """Its place in the values of a row."""
    name: str
    attname: str
    field: models.Field[Any, Any]
    convert: Callable[[Any], Any]
    """Makes the field's value of a wire value. Raises: Refused."""
    parent: EntityMapping | None
    """The mapping that names its parents on the wire; then values are keys until resolved."""
    told_by_database: bool = False
    """Whether only the database tells what the column gives back for a value."""

    @property
    def is_relation(self) -> bool:
        """Whether a parent row must exist."""
        return isinstance(self.field, models.ForeignKey)

    @property
    def parent_model(self) -> type[models.Model] | None:
        """The model that has the parent rows; None where the column names no parent."""
        return parent_model(self.field)


class CompiledType:
    """One mapping, for one database and, as far as it names parents, one set of streams."""

    def __init__(
        self,
        mapping: EntityMapping,
        using: str | None,
        parents: Sequence[EntityMapping | None],
    ) -> None:
        """``parents`` are those of the mapped fields, None where a field names no mapped one."""
        self.mapping = mapping
        self.type = mapping.entity_type
        self.using = using or "default"
        self.digest_of_type = entity_digest(self.type, "")
        """The type's name in our tables."""

        fields = zip(mapping.mapped_fields, parents, strict=True)
        self.fields = [
            _plan_field(place, field, parent, using) for place, (field, parent) in enumerate(fields)
        ]
        self.by_name = {planned.name: planned for planned in self.fields}
        self.places = {planned.attname: planned.place for planned in self.fields}

        self.relations = [planned for planned in self.fields if planned.is_relation]
        self.named_parents = [each for each in self.relations if each.parent is not None]
        """Those of them whose parents are shown by their entity keys."""
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
        """Whether what is written, with parents by their entity keys, tells what is shown."""

        self.row_reader = RowReader([mapping.model._meta.pk, mapping.key, *mapping.mapped_fields])
        """Of a row: primary key, key, and the mapped columns."""
        self.parent_readers = {each: RowReader(_parent_columns(each)) for each in self.relations}
        """Of parents: what names them, and what a row's column holds."""
        self.may_go_direct = _may_go_direct(self)
        """Whether its rows may be written without the fold, as far as the mapping tells."""
        self.is_childless = _is_childless(mapping.model)
        """Whether nothing can point to a row."""

        self.key_value = key_converter(mapping.key, using)
        exact = any(isinstance(planned.field, models.DecimalField) for planned in self.fields)
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(
            float_hook=decimal.Decimal if exact else read_number
        ).decode


class CompiledStream:
    """The types of a stream, compiled as they are met, and which of them name which as parents."""

    def __init__(self, stream_name: str, using: str | None) -> None:
        self._name, self._using = stream_name, using
        served = registry.for_stream(stream_name)
        self.parents_first = parents_first(served)
        """The mappings, in an order in which parents precede children."""
        self._mappings = {mapping.entity_type: mapping for mapping in reversed(served)}
        self._types: dict[str, CompiledType] = {}
        self._children: dict[type[models.Model], list[tuple[str, PlannedField]]] = {}

    def find(self, entity_type: str) -> CompiledType | None:
        """The type; None where it is not registered."""
        known = self._types.get(entity_type)
        if known is None and (mapping := self._mappings.get(entity_type)) is not None:
            known = self._types[entity_type] = compile_type(mapping, self._name, self._using)
        return known

    def children(self, model: type[models.Model]) -> list[tuple[str, PlannedField]]:
        """The types, with the column, whose rows name rows of the model as their parents."""
        if model not in self._children:
            self._children[model] = [
                (mapping.entity_type, planned)
                for mapping in self.parents_first
                for planned in compile_type(mapping, self._name, self._using).relations
                if planned.parent_model is model
            ]
        return self._children[model]


def compile_stream(stream: Stream) -> CompiledStream:
    """What is registered for the stream now."""
    return _compile_stream(stream.name, stream.using, tuple(registry))


def compile_type(mapping: EntityMapping, stream_name: str, using: str | None) -> CompiledType:
    """The mapping as it serves that stream."""
    parents = tuple(mapping.parent_mapping(each, stream_name) for each in mapping.mapped_fields)
    return _compile_type(mapping, using, parents)


@lru_cache(maxsize=STREAMS)
def _compile_stream(
    stream_name: str, using: str | None, registered: tuple[EntityMapping, ...]
) -> CompiledStream:
    """``registered`` tells one registry from what it is when something was added or removed."""
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
    """Whether a SELECT says no more of the column than its name."""
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
