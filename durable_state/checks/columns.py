"""E002, E004, E005, E006, E011, W016, E023:
the columns that a mapping names, and those that it leaves out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.core import checks
from django.core.exceptions import FieldDoesNotExist
from django.db import models

from durable_state.conversion.custom_fields import is_computed
from durable_state.models import Stream
from durable_state.registry import EntityMapping
from durable_state.registry.columns import unique_sets, writable
from durable_state.registry.scope import one_to_one_to_stream

from .report import Flaw, fault, suggestion, warning

__all__ = [
    "check_insertable",
    "check_key",
    "check_listed",
    "check_manager",
    "check_stream_field",
    "check_unique",
]

KEYLESS = (
    models.BooleanField,
    models.FloatField,
    models.JSONField,
    models.BinaryField,
    models.FileField,
)
"""Columns that do not return a text verbatim, or cannot be unique."""

LONGEST_NAME = 100
"""Characters that a stream's name may have."""


def _column(mapping: EntityMapping, name: Any) -> models.Field[Any, Any] | None:
    """Returns the column of exactly that field name, or None (``author_id`` is not one)."""
    try:
        field = mapping.field(name)
    except (FieldDoesNotExist, TypeError):
        return None
    return field if field.name == name and field.column is not None else None


def _no_column(mapping: EntityMapping, name: Any) -> Flaw:
    """Says that a name is not that of a field with a column, and what may be meant."""
    meta = mapping.model._meta
    for field in meta.get_fields():
        if field.name == name:
            hint = "A stream writes only columns."
            if isinstance(field, models.ManyToManyField):
                hint += " Map the table in between as a type of its own."
            return Flaw(f"{name!r} has no column in the table of {meta.label}.", hint)
        if isinstance(field, models.ForeignKey) and field.attname == name:
            hint = f"Name the foreign key by its field: {field.name!r}."
            return Flaw(f"{name!r} is not a field of {meta.label}.", hint)
    hint = suggestion(name, [field.name for field in meta.concrete_fields])
    return Flaw(f"{name!r} is not a field of {meta.label}.", hint)


def check_key(mapping: EntityMapping) -> Iterator[checks.CheckMessage]:
    """E002: ``key_field`` is a column that holds a key verbatim."""
    flaw = _key_flaw(mapping, getattr(mapping, "key_field", None))
    if flaw is not None:
        yield fault(mapping, 2, *flaw)


def _key_flaw(mapping: EntityMapping, name: Any) -> Flaw | None:
    if name is None:
        return Flaw("The mapping has no `key_field`.", "Name the field that holds the entity key.")

    field = _column(mapping, name)
    if field is None:
        message, hint = _no_column(mapping, name)
        return Flaw(f"`key_field`: {message}", hint)

    if _holds_keys(field):
        return None
    return Flaw(
        f"`key_field` {name!r} is a {type(field).__name__}{_written_by(field)},"
        " which does not hold keys verbatim.",
        "Use a text field; an integer, a UUID, a decimal or a date works too"
        " where the keys are of its canonical form.",
    )


def _holds_keys(field: models.Field[Any, Any]) -> bool:
    if field.is_relation or is_computed(type(field)) or isinstance(field, KEYLESS):
        return False
    return writable(field) or field.primary_key


def _written_by(field: models.Field[Any, Any]) -> str:
    if not writable(field):
        return " that Django writes"
    return " that computes its values in SQL" if is_computed(type(field)) else ""


def check_listed(mapping: EntityMapping) -> Iterator[checks.CheckMessage]:
    """E004: each listed field is a column that a stream can keep."""
    if isinstance(mapping.value_field, str):
        names = [mapping.value_field]
    elif isinstance(mapping.fields, str):
        return  # "__all__" lists only what can be written
    else:
        names = list(mapping.fields or ())

    for name, times in Counter(names).items():
        if times > 1:
            yield fault(mapping, 4, f"`fields` lists {name!r} twice.", "List each field once.")
        flaw = _listed_flaw(mapping, name)
        if flaw is not None:
            yield fault(mapping, 4, *flaw)


def _listed_flaw(mapping: EntityMapping, name: Any) -> Flaw | None:
    field = _column(mapping, name)
    label = mapping.model._meta.label
    if field is None:
        return _no_column(mapping, name)

    if name == getattr(mapping, "key_field", None):
        return Flaw(
            f"{name!r} is the `key_field`.", "Leave it out: it always holds the entity key."
        )
    if name == mapping.stream_field:
        return Flaw(f"{name!r} is the `stream_field`.", "Leave it out: it always names the stream.")

    if field in mapping.model._meta.pk_fields:
        return Flaw(
            f"{name!r} is part of the primary key of {label},"
            " which never changes during a row's life.",
            "Leave it out, or make it the `key_field`.",
        )
    if not writable(field):
        kind = "computed by the database" if field.generated else "set by Django (auto_now)"
        return Flaw(f"{name!r} is {kind}: the stream's value would be lost.", "Leave it out.")
    return None


def check_stream_field(mapping: EntityMapping) -> Iterator[checks.CheckMessage]:
    """E006: ``stream_field`` tells streams apart. W016: a text that is too short for some names."""
    name: Any = mapping.stream_field
    if name is None:
        return
    flaw = _stream_field_flaw(mapping, name)
    if flaw is not None:
        yield fault(mapping, 6, *flaw)
        return

    field = _column(mapping, name)
    longest = None if field is None else field.max_length
    if longest is not None and longest < LONGEST_NAME and mapping.streams is None:
        yield warning(
            mapping,
            16,
            f"`stream_field` {name!r} holds {longest} characters;"
            f" a stream's name may have {LONGEST_NAME}.",
            f"Set max_length={LONGEST_NAME}, or name the streams in `streams`.",
        )


def _stream_field_flaw(mapping: EntityMapping, name: Any) -> Flaw | None:
    field = _column(mapping, name)
    if field is None:
        message, hint = _no_column(mapping, name)
        return Flaw(f"`stream_field`: {message}", hint)
    if name == getattr(mapping, "key_field", None):
        return Flaw(f"{name!r} is both `stream_field` and `key_field`.", "Use two fields.")

    if isinstance(field, models.ForeignKey):
        target: Any = field.related_model
        if target is Stream or one_to_one_to_stream(target) is not None:
            return None
        return Flaw(
            f"`stream_field` {name!r} points to {target._meta.label}, which stands for no stream.",
            "Point it to durable_state.Stream,"
            " or give that model a OneToOneField to durable_state.Stream.",
        )
    if not isinstance(field, (models.CharField, models.TextField)):
        return Flaw(
            f"`stream_field` {name!r} is a {type(field).__name__}.",
            "Use a text field (it holds the stream's name),"
            " or a foreign key to Stream or to a model that stands for one.",
        )
    return None


def check_unique(mapping: EntityMapping) -> Iterator[checks.CheckMessage]:
    """E005: no two rows of a stream can have the same key."""
    key: Any = getattr(mapping, "key_field", None)
    field = _column(mapping, key)
    if field is None or field.unique:
        return

    meta = mapping.model._meta
    sets = [*unique_sets(mapping.model), {field.name for field in meta.pk_fields}]
    if {key} in sets or (mapping.stream_field is not None and {mapping.stream_field, key} in sets):
        return
    if mapping.stream_field is None:
        yield fault(
            mapping, 5, f"The key {key!r} is not unique.", f"Set unique=True on {meta.label}.{key}."
        )
    else:
        columns = [str(mapping.stream_field), key]
        yield fault(
            mapping,
            5,
            f"`stream_field` and `key_field` ({', '.join(columns)}) are not unique together.",
            f"Add UniqueConstraint(fields={columns!r}, name=...), without condition,"
            f" to {meta.label}.Meta.constraints.",
        )


def check_manager(mapping: EntityMapping) -> Iterator[checks.CheckMessage]:
    """E023: the model's base manager, by which rows are found and compared, shows them all."""
    meta = mapping.model._meta
    manager = mapping.model._base_manager
    query = manager.get_queryset().query
    if query.where or query.is_sliced or query.distinct or query.combinator:
        yield fault(
            mapping,
            23,
            f"The base manager of {meta.label}, {type(manager).__name__}, hides rows: a row that"
            " cannot be seen can neither be updated nor deleted.",
            "Hide rows in the default manager, and let `Meta.base_manager_name` name one whose"
            " get_queryset() filters nothing, or leave it out.",
        )


def check_insertable(mapping: EntityMapping) -> Iterator[checks.CheckMessage]:
    """E011: each column that the mapping does not write can be left out of an insert."""
    written = [
        mapping.value_field,
        mapping.stream_field,
        getattr(mapping, "key_field", None),
        *mapping.wire_names,
    ]
    for field in mapping.model._meta.concrete_fields:
        if field.name not in written and _needs_a_value(field):
            yield fault(
                mapping,
                11,
                f"{field.name!r} is not listed, must not be NULL and has no default:"
                " no row could be inserted.",
                "List it in `fields`, or give it a default (or null=True) in the model.",
            )


def _needs_a_value(field: models.Field[Any, Any]) -> bool:
    """Returns whether no row can be inserted without a value for the column."""
    if field.null or field.generated or isinstance(field, models.AutoField):
        return False
    if field.has_default() or field.db_default is not models.NOT_PROVIDED:
        return False
    if not writable(field) and not field.primary_key:
        return False
    if not type(field).pre_save.__module__.startswith("django."):
        return False  # it makes its own value, such as a slug from another field
    # Django inserts "", which only one row may have if the column is unique.
    return field.unique or not field.empty_strings_allowed
