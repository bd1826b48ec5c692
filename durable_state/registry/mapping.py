"""Mappings of one entity type to one model: what users write, and what follows from that."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as MappingABC
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import models

from durable_state.conversion.keys import key_text
from durable_state.models import Stream

from .change import EntityChange
from .columns import parent_model, writable
from .patterns import ANY, overlap
from .represent import represent_parent, represent_value
from .scope import stream_of, stream_scope

__all__ = ["EntityMapping", "camel_case"]


def camel_case(*names: str) -> dict[str, str]:
    """Maps model field names to camelCase wire names.

    ``camel_case("sent_at")`` is ``{"sent_at": "sentAt"}``.
    """
    wire_names = {}
    for name in map(str, names):  # a system check reports what is no text
        first, *others = name.split("_")
        wire_names[name] = first + "".join(part[:1].upper() + part[1:] for part in others)
    return wire_names


def _resolve_model(mapping_class: type[EntityMapping]) -> None:
    """Replaces ``"app_label.Model"`` by the class, now or as soon as Django has loaded it.

    A label without a model stays as it is, for the system checks to report.
    """
    label = getattr(mapping_class, "model", None)
    if not isinstance(label, str) or label.count(".") != 1:
        return
    if apps.models_ready:  # Django's checks complain of lazy operations that stay pending
        with contextlib.suppress(LookupError):
            mapping_class.model = apps.get_model(label)
        return
    app_label, name = label.split(".")
    apps.lazy_model_operation(
        lambda model: setattr(mapping_class, "model", model), (app_label, name.lower())
    )


class Register(Protocol):
    """The registry, as far as a mapping needs it to find the mappings of its parents."""

    def for_model(self, model: object) -> list[EntityMapping]:
        """All mappings of a model."""
        ...


class EntityMapping:
    """Says how the entities of one type become rows of one model.

    Subclass it and ``@register("type")`` it. Mistakes in its attributes are system checks, never
    import errors.
    """

    # A class, or "app_label.Model" until the models are loaded. Typed `Any`, because projects may
    # write more than what is read here, and Python cannot express that for an attribute.
    model: ClassVar[Any]
    """The model that the entities become rows of: its class, or ``"app_label.Model"``."""
    key_field: ClassVar[str]
    """The model field that holds the entity key, verbatim."""
    fields: ClassVar[Sequence[str] | dict[str, str] | Literal["__all__"] | None] = None
    """The model fields that the stream writes: a list, a dict of wire names, or ``"__all__"``."""
    value_field: ClassVar[str | None] = None
    """Instead of ``fields``: the one model field that holds the whole value, any JSON."""
    stream_field: ClassVar[str | None] = None
    """The model field that says which stream a row belongs to, if streams share the table."""
    streams: ClassVar[Sequence[str] | None] = None
    """The streams that the mapping serves, as names or patterns (``"chat-*"``). None: all."""
    update_mode: ClassVar[Literal["replace", "merge"]] = "replace"
    """``"merge"``: an ``update`` keeps the fields that its value leaves out."""
    version: ClassVar[int] = 1
    """Raise it when ``prepare`` has changed, so that the type asks for a reset of its old rows."""

    registry: Register | None = None
    """Where the mapping is registered."""

    def __init__(self, entity_type: str) -> None:
        self.entity_type = entity_type
        _resolve_model(type(self))

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} for {self.entity_type!r}>"

    # What users override.

    def prepare(self, change: EntityChange) -> dict[str, Any] | None:
        """The raw values of the mapped fields that the change carries, by model field name;
        None for no row.

        Pure: it may use only ``change``. Fields it leaves out get their default (or keep their
        value, for an ``update`` that merges).
        Raises: ValidationError (Django's or DRF's), which makes a dead letter.
        """
        if self.value_field is not None:
            return {self.value_field: change.value}
        if not isinstance(change.value, dict):
            raise ValidationError(
                "The value is not an object, and the mapping has no value_field.",
                code="not-an-object",
            )
        value = change.value
        return {name: value[wire] for name, wire in self.wire_names.items() if wire in value}

    def represent(self, row: models.Model) -> Any:
        """The ``value`` of a row as clients see it: JSON-like.

        By default it has the mapped fields under their wire names.
        """
        if self.value_field is not None:
            return self.represent_field(row, self.value_field)
        return {wire: self.represent_field(row, name) for name, wire in self.wire_names.items()}

    # Everything below is derived from the attributes.

    @cached_property
    def wire_names(self) -> dict[str, str]:
        """The wire name of each mapped model field, in the order that the mapping lists them.

        Empty with ``value_field``.
        """
        if self.value_field is not None or self.fields is None:
            return {}
        if self.fields == "__all__":
            skipped = {self.key_field, self.stream_field}
            return {
                field.name: field.name
                for field in self.model._meta.concrete_fields
                if field.name not in skipped and writable(field)
            }
        if isinstance(self.fields, MappingABC):
            return dict(self.fields)
        return {name: name for name in self.fields}

    @cached_property
    def mapped_fields(self) -> tuple[models.Field[Any, Any], ...]:
        """The model fields that the stream writes, apart from key and stream field."""
        names = [self.value_field] if self.value_field is not None else list(self.wire_names)
        return tuple(self.field(name) for name in names)

    @cached_property
    def key(self) -> models.Field[Any, Any]:
        """The model field that holds the entity key."""
        return self.field(self.key_field)

    def key_of(self, row: models.Model) -> str:
        """The entity key of a row, as it is spelled on the wire."""
        return key_text(self.key, self.key.value_from_object(row))

    @cached_property
    def merges(self) -> bool:
        """Whether an ``update`` keeps the fields that its value leaves out."""
        return self.update_mode == "merge"

    @property
    def has_own_prepare(self) -> bool:
        """Whether the mapping has a ``prepare`` of its own."""
        return type(self).prepare is not EntityMapping.prepare

    @property
    def has_own_represent(self) -> bool:
        """Whether the mapping has a ``represent`` of its own."""
        return type(self).represent is not EntityMapping.represent

    @cached_property
    def label(self) -> str:
        """The model's ``app_label.modelname``."""
        label: str = self.model._meta.label_lower
        return label

    def field(self, name: str) -> models.Field[Any, Any]:
        """The concrete model field called ``name``. Raises: FieldDoesNotExist."""
        field = self.model._meta.get_field(name)
        if not isinstance(field, models.Field) or not field.concrete or field.many_to_many:
            raise FieldDoesNotExist(f"{self.model._meta.label} has no column {name!r}")
        return field

    @cached_property
    def stream_column(self) -> models.Field[Any, Any] | None:
        """The model field of ``stream_field``; None if the table belongs to a single stream."""
        return None if self.stream_field is None else self.field(self.stream_field)

    def serves(self, stream_name: str) -> bool:
        """Whether the mapping serves the stream with that name."""
        return any(fnmatchcase(stream_name, pattern) for pattern in self.patterns)

    def may_meet(self, other: EntityMapping) -> bool:
        """Whether both mappings can serve the same stream."""
        return overlap(self.patterns, other.patterns)

    @cached_property
    def patterns(self) -> tuple[str, ...]:
        """``streams`` as patterns.

        Anything in it that is no text serves no stream; a system check reports it.
        """
        streams: Any = ANY if self.streams is None else self.streams
        if isinstance(streams, str):
            return (streams,)
        if not isinstance(streams, Iterable):
            return ()
        return tuple(each for each in streams if isinstance(each, str))

    def scope(self, stream: Stream) -> dict[str, Any]:
        """The field values by which a row belongs to the stream; empty without ``stream_field``.

        Raises: MappingFault, if the object that stands for the stream does not exist.
        """
        return stream_scope(self.stream_column, stream)

    def rows(self, stream: Stream, using: str | None = None) -> models.QuerySet[models.Model]:
        """The rows that show the stream's entities, unordered."""
        queryset: models.QuerySet[models.Model] = (
            self.model._base_manager.using(using or stream.using)
            .filter(**self.scope(stream))
            .order_by()
        )
        if self.stream_field is not None:
            queryset = queryset.filter(**{f"{self.stream_field}__isnull": False})
        if self.key.null:  # a row without a key is the application's own
            queryset = queryset.filter(**{f"{self.key_field}__isnull": False})
        return queryset

    def parent_mapping(
        self, field: models.Field[Any, Any], stream_name: str | None = None
    ) -> EntityMapping | None:
        """The mapping of the field's parent, by whose key that stream names the parent;
        None if the parent's model is not mapped.

        Without the name of a stream, any mapping that shares a stream with this one.
        """
        candidates = self._parent_mappings(field)
        if stream_name is not None:
            candidates = [each for each in candidates if each.serves(stream_name)] or candidates
        return candidates[0] if candidates else None

    def _parent_mappings(self, field: models.Field[Any, Any]) -> list[EntityMapping]:
        """All mappings of the field's parents; if some share a stream with this one, only those."""
        model = parent_model(field)
        if model is None or self.registry is None:
            return []
        candidates = self.registry.for_model(model)
        return [each for each in candidates if each.may_meet(self)] or candidates

    def represent_field(self, row: models.Model, name: str) -> Any:
        """One mapped field of a row as clients see it.

        A foreign key to a mapped parent is shown as the parent's entity key.
        """
        field = self.field(name)
        candidates = self._parent_mappings(field)
        keys = {each.key.attname for each in candidates}
        if len(keys) > 1:
            # Streams name the parents by different fields: which one does the row belong to?
            parent = self.parent_mapping(field, stream_of(self.stream_column, row))
            keys = set() if parent is None else {parent.key.attname}
        return represent_parent(field, row, keys.pop()) if keys else represent_value(field, row)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the mapping, which changes when existing rows would have to be rebuilt."""
        parts = [
            self.label,
            self.key_field,
            repr(sorted(self.wire_names.items())),
            repr(self.value_field),
            repr(self.stream_field),
            self.update_mode,
            str(self.version),
            "prepare" if self.has_own_prepare else "",
        ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    @property
    def source(self) -> str:
        """Where the mapping class is defined: ``file:line``."""
        try:
            return f"{inspect.getsourcefile(type(self))}:{inspect.getsourcelines(type(self))[1]}"
        except (OSError, TypeError):
            return f"{type(self).__module__}.{type(self).__qualname__}"
