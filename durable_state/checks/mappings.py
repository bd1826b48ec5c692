"""E001 to E014: one mapping after the other, then all of them together."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator

from django.apps import apps
from django.core import checks
from django.db import models

from durable_state.registry import EntityMapping, Registry

from .attributes import ATTRIBUTES, check_attributes
from .columns import (
    check_insertable,
    check_key,
    check_listed,
    check_manager,
    check_stream_field,
    check_unique,
)
from .report import Flaw, fault
from .shape import check_fields_shape, check_functions, check_options, check_wire_names

__all__ = ["check_mappings"]

Check = Callable[[EntityMapping], Iterator[checks.CheckMessage]]

SHAPE: tuple[Check, ...] = (
    check_attributes,
    check_fields_shape,
    check_options,
    check_functions,
)
COLUMNS: tuple[Check, ...] = (
    check_key,
    check_listed,
    check_stream_field,
    check_unique,
    check_manager,
    check_wire_names,
)


def check_mappings(registry: Registry) -> list[checks.CheckMessage]:
    """Returns everything that is wrong with the mappings of a registry. Never raises."""
    found: list[checks.CheckMessage] = [
        checks.Error(message, hint, obj=None, id="durable_state.E014")
        for message, hint in registry.mistakes
    ]
    for mapping in registry:
        found += _survive(mapping, lambda mapping: iter(_check_mapping(mapping)))
        found += _survive(mapping, lambda mapping: _check_alone(registry, mapping))
    return found


def _check_mapping(mapping: EntityMapping) -> list[checks.CheckMessage]:
    found = list(_check_model(mapping))
    for check in SHAPE:
        found += _survive(mapping, check)
    # Columns can only be looked up where there is a model and where `fields` has the right shape.
    if _has(found, 1, 3):
        return found
    for check in COLUMNS:
        found += _survive(mapping, check)
    # A column that only seems to be left out, because its name is misspelt, is no second mistake.
    if not _has(found, 2, 4, 6):
        found += _survive(mapping, check_insertable)
    return found


def _has(found: list[checks.CheckMessage], *numbers: int) -> bool:
    """Whether one of these errors was found."""
    ids = {f"durable_state.E{number:03}" for number in numbers}
    return any(message.id in ids for message in found)


def _check_model(mapping: EntityMapping) -> Iterator[checks.CheckMessage]:
    """E001: ``model`` is a model. E007: it has one table of its own."""
    flaw = _model_flaw(mapping)
    if flaw is not None:
        yield fault(mapping, 1, *flaw)
        return
    flaw = _table_flaw(mapping.model)
    if flaw is not None:
        yield fault(mapping, 7, *flaw)


def _model_flaw(mapping: EntityMapping) -> Flaw | None:
    model = getattr(mapping, "model", None)
    if hasattr(mapping, "Meta"):
        return Flaw(
            "The mapping has a `class Meta`, which is ignored.",
            "Write `model` and the other attributes into the mapping class itself.",
        )
    if model is None:
        return Flaw(
            "The mapping has no `model`.",
            "Set `model` to the model class that the entities become.",
        )
    if isinstance(model, str):
        return Flaw(f"`model` is {model!r}, but there is no such model.", _suggest_model(model))
    if not (
        isinstance(model, type) and issubclass(model, models.Model) and hasattr(model, "_meta")
    ):
        return Flaw(
            f"`model` is {model!r}, which is not a model class.",
            "Set `model` to a Django model class.",
        )
    if model._meta.abstract:
        return Flaw(
            f"`model` {model.__name__} is abstract and has no table.",
            "Map a concrete subclass of it.",
        )
    return None


def _table_flaw(model: type[models.Model]) -> Flaw | None:
    meta = model._meta
    if meta.swapped:
        return Flaw(
            f"{meta.label} is swapped out for {meta.swapped} and has no table.",
            f"Map {meta.swapped} instead.",
        )
    if meta.proxy:
        concrete = meta.concrete_model
        label = concrete._meta.label if concrete is not None else "its concrete model"
        return Flaw(f"{meta.label} is a proxy model.", f"Map {label}, which has the table.")

    parents = [parent._meta.label for parent, link in meta.parents.items() if link is not None]
    if parents:
        return Flaw(
            f"{meta.label} spreads over the tables of {', '.join(parents)}"
            " (multi-table inheritance).",
            "Inherit from an abstract model,"
            " or map a model with a OneToOneField instead of inheriting.",
        )
    return None


def _suggest_model(label: str) -> str:
    """Returns a hint at the model that may be meant, or at why none is found."""
    labels = {model._meta.label_lower: model._meta.label for model in apps.get_models()}
    called_so = [known for known in labels.values() if known.endswith(f".{label}")]
    close = difflib.get_close_matches(label.lower(), labels, n=2)
    meant = called_so or [labels[each] for each in close]
    if meant:
        return f"Did you mean {' or '.join(map(repr, meant[:2]))}?"
    return 'Write "app_label.Model", and name the model\'s app in INSTALLED_APPS.'


def _check_alone(registry: Registry, mapping: EntityMapping) -> Iterator[checks.CheckMessage]:
    model = getattr(mapping, "model", None)
    if model is None:
        return
    for other in registry:
        if other is mapping:
            return  # the mappings after it report the pair
        if getattr(other, "model", None) is model and other.may_meet(mapping):
            yield fault(
                mapping,
                8,
                f"The types {other.entity_type!r} and {mapping.entity_type!r} would share the rows"
                f" of {mapping.model.__name__} in one stream.",
                "Give each type a model of its own, or both mappings `streams` that do not overlap."
                f" The other one: {other.source}.",
            )


def _survive(mapping: EntityMapping, check: Check) -> list[checks.CheckMessage]:
    found: list[checks.CheckMessage] = []
    try:
        found.extend(check(mapping))
    except Exception as error:  # a mapping may be anything; the project must start nevertheless
        found.append(
            fault(
                mapping,
                19,
                f"The mapping cannot be checked: {type(error).__name__}: {error}.",
                f"A mapping has the attributes {', '.join(ATTRIBUTES)}.",
            )
        )
    return found
