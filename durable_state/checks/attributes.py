"""E030: what a mapping class defines and nothing reads."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from inspect import get_annotations, isfunction
from typing import Any

from django.core import checks

from durable_state.registry import EntityMapping

from .report import fault

__all__ = ["ATTRIBUTES", "check_attributes"]

ATTRIBUTES = tuple(name for name in get_annotations(EntityMapping) if name != "registry")
"""What a mapping may set."""
METHODS = ("prepare", "represent")
"""What a mapping may override."""
_RESERVED = {name for name in vars(EntityMapping) if not name.startswith("_")}


def check_attributes(mapping: EntityMapping) -> Iterator[checks.CheckMessage]:
    """E030: an attribute that is never read, or a method whose name is nearly one of ours.

    Other methods and properties belong to the project, as do CONSTANTS and ``_private`` names.
    """
    for name, value in _defined(type(mapping)).items():
        if name in ATTRIBUTES or name in METHODS or name.startswith("_") or name == "Meta":
            continue  # the last is E001
        if name in _RESERVED:
            yield fault(
                mapping,
                30,
                f"`{name}` is one of EntityMapping's own names, so a mapping must not use it.",
                _suggest(name) or "Rename it.",
            )
        elif isfunction(value):
            if close := difflib.get_close_matches(name, METHODS, n=1, cutoff=0.85):
                yield fault(
                    mapping,
                    30,
                    f"The method `{name}` is never called.",
                    f"Did you mean `{close[0]}`? Start the name of a helper with an underscore.",
                )
        elif not _is_own(name, value):
            listed = ", ".join(f"`{each}`" for each in ATTRIBUTES)
            yield fault(
                mapping,
                30,
                f"`{name}` is not an attribute of a mapping, so it is ignored.",
                f"{_suggest(name) or f'A mapping has {listed}.'}"
                " Start the name of an attribute of your own with an underscore.",
            )


def _defined(mapping_class: type) -> dict[str, Any]:
    """Returns what the class, its bases below EntityMapping and its mixins define."""
    defined: dict[str, Any] = {}
    for each in reversed(mapping_class.__mro__):
        if not issubclass(EntityMapping, each):
            defined |= vars(each)
    return defined


def _is_own(name: str, value: Any) -> bool:
    """Returns whether it is evidently meant for the project's own code."""
    return name.isupper() or callable(value) or hasattr(type(value), "__get__")


def _suggest(name: str) -> str:
    close = difflib.get_close_matches(name, ATTRIBUTES, n=2)
    close = close or [each for each in ATTRIBUTES if each.startswith(name)]
    return f"Did you mean {' or '.join(f'`{each}`' for each in close)}?" if close else ""
