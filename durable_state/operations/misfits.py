"""Finds mappings that do not fit their stream: types that only one of them has, fields that never
come, mappings that make no row.

None of this is an error, because a stream may hold what nobody wants. But the most common mistakes
look like that, so they are pointed out.

Why: decision 37.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from durable_state.materializer.batch.sampling import Sample
from durable_state.models import TypeState
from durable_state.registry import EntityMapping, registry

__all__ = ["misfits"]

_ENOUGH = 3
"""Changes of a type that a sample needs before anything is said of their values."""
_ALIKE = 0.65
"""How similar two names have to be, from 0 to 1; "task" and "tasks" have 0.89."""
_SHOWN = 12
"""Member names that are listed."""


def misfits(stream_name: str, types: Iterable[TypeState]) -> list[str]:
    """What does not fit, one sentence each, without a full stop."""
    states = list(types)
    found = list(_suggestions(stream_name, states))
    for state in states:
        mapping = registry.find(state.type, stream_name)
        if mapping is not None and state.sample:
            found += _type_misfits(mapping, Sample.of(state.sample))
    return found


def _suggestions(stream_name: str, states: list[TypeState]) -> Iterator[str]:
    """What types without a mapping may have been meant for."""
    unmapped = [
        state.type
        for state in states
        if state.unregistered and registry.find(state.type, stream_name) is None
    ]
    if not unmapped:  # as nearly always, for many streams
        return

    met = {state.type for state in states if state.fingerprint or state.sample}
    idle = [each for each in registry.for_stream(stream_name) if each.entity_type not in met]
    for entity_type in unmapped:
        elsewhere = [each for each in registry if each.entity_type == entity_type]
        if elsewhere:
            patterns = ", ".join(", ".join(each.patterns) for each in elsewhere)
            yield (
                f'"{entity_type}" is registered for the streams {patterns} only'
                f" ({_where(elsewhere[0])})"
            )
    yield from _misspelt(idle, unmapped)


def _misspelt(idle: list[EntityMapping], unmapped: list[str]) -> Iterator[str]:
    """Types without a mapping, if a registered type of nearly the same name never comes."""
    by_folded = {mapping.entity_type.casefold(): mapping for mapping in idle}
    for entity_type in unmapped:
        close = get_close_matches(entity_type.casefold(), by_folded, n=1, cutoff=_ALIKE)
        if close:
            meant = by_folded[close[0]]
            yield (
                f'did you mean @register("{entity_type}")?'
                f' There is no "{meant.entity_type}" in the stream ({_where(meant)})'
            )


def _type_misfits(mapping: EntityMapping, sample: Sample) -> Iterator[str]:
    """Where a sample of one type's changes does not fit its mapping."""
    name = mapping.entity_type
    if sample.no_row >= _ENOUGH and not sample.rows:
        yield (
            f"prepare() gave no row for any of {sample.no_row:,} `{name}` changes"
            f" (does it end with a return? {_where(mapping)})"
        )
    if sample.rows < _ENOUGH or mapping.value_field is not None:
        return

    # Fields that were never given. Without a prepare, a member that was seen counts as given, even
    # if only in a value that was refused.
    never = {
        field: wire
        for field, wire in mapping.wire_names.items()
        if field not in sample.given and (mapping.has_own_prepare or wire not in sample.seen)
    }
    if not never or not set(sample.seen) - set(mapping.wire_names.values()):
        return  # every member that comes is mapped, so the others are just optional

    if mapping.has_own_prepare:
        listed = ", ".join(f"`{field}`" for field in never)
        yield f"prepare() gave no {listed} for any of {sample.rows:,} `{name}` changes"
    else:
        listed = ", ".join(f"`{wire}`" for wire in never.values())
        were = "was" if len(never) == 1 else "were"
        seen = ", ".join(sample.seen[:_SHOWN]) or "no member"
        more = ", ..." if len(sample.seen) > _SHOWN else ""
        yield f"{listed} {were} in none of {sample.rows:,} `{name}` values; seen: {seen}{more}"


def _where(mapping: EntityMapping) -> str:
    """Names the class without a path of this machine, because reports are shown outside too."""
    return f"{type(mapping).__module__}.{type(mapping).__qualname__}"
