"""The mappings of a single test; conftest.py undoes them after it."""

from __future__ import annotations

from typing import Any

from durable_state import EntityMapping
from durable_state.registry import registry

__all__ = ["map_only", "remap"]


def remap(entity_type: str, mapping_class: type[EntityMapping] | None, **attributes: Any) -> None:
    """Maps a type by a variant of the class, in place of its mapping; None: the type is not
    registered.
    """
    registry.remove_type(entity_type)
    if mapping_class is not None:
        _add(entity_type, type("Variant", (mapping_class,), attributes))


def map_only(**mapping_classes: type[EntityMapping]) -> None:
    """Maps these types, and no other."""
    registry.clear()
    for entity_type, mapping_class in mapping_classes.items():
        _add(entity_type, mapping_class)


def _add(entity_type: str, mapping_class: type[EntityMapping]) -> None:
    registry.add(entity_type, mapping_class)
    assert entity_type in {each.entity_type for each in registry}, registry.mistakes[-1]
