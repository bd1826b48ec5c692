"""The messages of the checks about mappings."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple

from django.core import checks

from durable_state.registry import EntityMapping

__all__ = ["Flaw", "fault", "suggestion", "warning"]


class Flaw(NamedTuple):
    """What is wrong, and what to do about it."""

    message: str
    hint: str


def fault(mapping: EntityMapping, number: int, message: str, hint: str) -> checks.Error:
    """Returns the error ``durable_state.E<number>``, which says where the mapping is defined."""
    return checks.Error(
        message, _located(mapping, hint), obj=mapping, id=f"durable_state.E{number:03}"
    )


def warning(mapping: EntityMapping, number: int, message: str, hint: str) -> checks.Warning:
    """Returns the warning ``durable_state.W<number>``, which says where the mapping is defined."""
    return checks.Warning(
        message, _located(mapping, hint), obj=mapping, id=f"durable_state.W{number:03}"
    )


def suggestion(name: object, names: Iterable[str]) -> str:
    """Returns a hint at the name that may be meant, or else all names there are."""
    names = sorted(names)
    close = difflib.get_close_matches(str(name), names, n=2)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    return f"The model has {', '.join(map(repr, names))}."


def _located(mapping: EntityMapping, hint: str) -> str:
    return f"{hint} The mapping is defined at {mapping.source}."
