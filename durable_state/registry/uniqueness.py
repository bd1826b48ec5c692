"""Tells which columns must be unique besides the key."""

from __future__ import annotations

from .columns import unique_sets
from .mapping import EntityMapping

__all__ = ["secondary_unique_sets"]


def secondary_unique_sets(mapping: EntityMapping) -> list[tuple[str, ...]]:
    """The sets of columns, by attname, that must be unique together, except for the key's own.

    Each holds at least one mapped field.
    """
    own = [{mapping.key_field}]
    if mapping.stream_field is not None:
        own.append({mapping.key_field, mapping.stream_field})
    mapped = {field.name for field in mapping.mapped_fields}

    found: list[tuple[str, ...]] = []
    for names in unique_sets(mapping.model):
        attnames = tuple(sorted(mapping.field(name).attname for name in names))
        if names not in own and names & mapped and attnames not in found:
            found.append(attnames)
    return found
