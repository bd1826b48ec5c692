"""Mapping a type otherwise, for one test."""

from __future__ import annotations

from typing import Any

import pytest

from durable_state import EntityMapping
from durable_state.registry import registry

__all__ = ["remap"]


def remap(
    monkeypatch: pytest.MonkeyPatch,
    entity_type: str,
    mapping_class: type[EntityMapping] | None,
    **attributes: Any,
) -> None:
    """Maps a type by a variant of the class, in place of what mapped it; None: the type is not registered."""
    kept = [each for each in registry if each.entity_type != entity_type]
    if mapping_class is not None:
        mapping = type("Variant", (mapping_class,), attributes)(entity_type)
        mapping.registry = registry
        kept.append(mapping)
    monkeypatch.setattr(registry, "_mappings", kept)
