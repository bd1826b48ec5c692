"""The findings of the system checks about mappings that exist in a test only."""

from __future__ import annotations

from typing import Any

from django.core import checks

from durable_state import EntityMapping
from durable_state.checks import check_mappings
from durable_state.registry import Registry
from tests.app import models as app

__all__ = ["check", "ids", "mapping"]


def check(*mapping_classes: Any, entity_type: Any = None) -> list[checks.CheckMessage]:
    """The findings about mapping classes in a separate registry."""
    registry = Registry()
    for number, mapping_class in enumerate(mapping_classes):
        registry.add(f"type-{number}" if entity_type is None else entity_type, mapping_class)
    return check_mappings(registry)


def mapping(**attributes: Any) -> type[EntityMapping]:
    """A correct mapping of Author, apart from the attributes given."""
    right = {"model": app.Author, "key_field": "key", "fields": ["commits"]}
    return type("Mapping", (EntityMapping,), right | attributes)


def ids(found: list[checks.CheckMessage]) -> list[str]:
    """The numbers of the findings."""
    return [message.id.removeprefix("durable_state.") for message in found if message.id]
