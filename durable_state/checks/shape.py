"""E003, E010, E012, W013: attributes of the wrong kind, before any column is looked up."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core import checks

from durable_state.registry import EntityMapping

from .report import Flaw, fault, warning

__all__ = ["check_fields_shape", "check_functions", "check_options", "check_wire_names"]


def check_fields_shape(mapping: EntityMapping) -> Iterator[checks.CheckMessage]:
    """E003: just one of ``fields`` and ``value_field``, and each of the right type."""
    flaw = _fields_flaw(mapping.fields, mapping.value_field)
    if flaw is not None:
        yield fault(mapping, 3, *flaw)


def _fields_flaw(fields: Any, value_field: Any) -> Flaw | None:
    if (fields is None) == (value_field is None):
        has = "neither `fields` nor" if fields is None else "both `fields` and"
        return Flaw(
            f"The mapping has {has} `value_field`.",
            'Set `fields` (a list, a dict to wire names, or "__all__"),'
            " or `value_field` for the whole value.",
        )
    if fields is None:
        if isinstance(value_field, str):
            return None
        return Flaw(f"`value_field` is {value_field!r}.", "Set it to the name of one model field.")

    if isinstance(fields, str):
        if fields == "__all__":
            return None
        return Flaw(
            f"`fields` is the text {fields!r}.", f'Write a list: [{fields!r}], or "__all__".'
        )
    if not _is_list_of_names(fields) and not _is_dict_of_names(fields):
        return Flaw(
            f"`fields` is {fields!r}.",
            'Set it to a list of field names, a dict of field names to wire names, or "__all__".',
        )
    return None


def _is_list_of_names(fields: Any) -> bool:
    return isinstance(fields, Sequence) and all(isinstance(name, str) for name in fields)


def _is_dict_of_names(fields: Any) -> bool:
    return isinstance(fields, Mapping) and all(
        isinstance(name, str) and isinstance(wire, str) for name, wire in fields.items()
    )


def check_options(mapping: EntityMapping) -> Iterator[checks.CheckMessage]:
    """E010: ``update_mode``, ``streams`` and ``version``."""
    if mapping.update_mode not in ("replace", "merge"):
        message = f"`update_mode` is {mapping.update_mode!r}."
        yield fault(mapping, 10, message, 'Set it to "replace" or "merge".')

    flaw = _streams_flaw(mapping.streams)
    if flaw is not None:
        yield fault(mapping, 10, *flaw)

    if not isinstance(mapping.version, int) or isinstance(mapping.version, bool):
        yield fault(mapping, 10, f"`version` is {mapping.version!r}.", "Set it to a whole number.")


def _streams_flaw(streams: Any) -> Flaw | None:
    if streams is None:
        return None
    if isinstance(streams, str):
        return Flaw(f"`streams` is the text {streams!r}.", f"Write a list: [{streams!r}].")
    if not _is_list_of_names(streams):
        return Flaw(
            f"`streams` is {streams!r}.",
            'Set it to a list of stream names or patterns ("chat-*").',
        )
    if not streams:
        return Flaw(
            "`streams` is empty: the mapping serves no stream.",
            "Name one, or leave `streams` out.",
        )
    return None


def check_functions(mapping: EntityMapping) -> Iterator[checks.CheckMessage]:
    """E012: ``prepare(self, change)`` and ``represent(self, row)`` can be called like that."""
    for name, argument in (("prepare", "change"), ("represent", "row")):
        function: Any = getattr(mapping, name, None)
        hint = f"Write it as `def {name}(self, {argument})`."
        if not callable(function):
            yield fault(mapping, 12, f"`{name}` is {function!r}, which is not a method.", hint)
        elif inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            yield fault(mapping, 12, f"`{name}` is a coroutine or a generator.", hint)
        else:
            try:
                inspect.signature(function).bind(object())
            except (TypeError, ValueError):
                yield fault(
                    mapping, 12, f"`{name}` cannot be called with a {argument} alone.", hint
                )


def check_wire_names(mapping: EntityMapping) -> Iterator[checks.CheckMessage]:
    """W013: two model fields under one wire name."""
    by_wire_name: dict[str, list[str]] = defaultdict(list)
    for name, wire_name in mapping.wire_names.items():
        by_wire_name[wire_name].append(name)
    for wire_name, names in by_wire_name.items():
        if len(names) > 1:
            listed = ", ".join(map(repr, names))
            yield warning(
                mapping,
                13,
                f"The fields {listed} share the wire name {wire_name!r}: each gets the value,"
                " and only the last is shown.",
                "Give each field a wire name of its own.",
            )
