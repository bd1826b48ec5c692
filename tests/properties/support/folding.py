"""The fold of the design, for mappings whose result for each value is given by a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["REFUSED", "Entity", "Fold", "ValueOf", "fold", "verbatim"]

REFUSED: Any = object()

Entity = tuple[str, str]
Fold = dict[Entity, Any]
"""The values that the stream holds, by entity."""
ValueOf = Callable[[dict[str, Any], Any], Any]
"""What a mapping makes of a message, and of the entity's value before (None: nothing).

None: the entity has no row; REFUSED: it stays as it was.
"""


def verbatim(message: dict[str, Any], before: Any) -> Any:
    """Every change is accepted, and replaces the value before."""
    return message["value"]


def fold(messages: list[dict[str, Any]], value_of: ValueOf = verbatim) -> Fold:
    """Folds one message after the other."""
    state: Fold = {}
    staged: Fold | None = None
    for message in messages:
        target = state if staged is None else staged
        match message["headers"]:
            case {"control": "reset"}:
                state, staged = {}, None
            case {"control": "snapshot-start"}:
                staged = {}
            case {"control": "snapshot-end"}:
                state, staged = (state if staged is None else staged), None
            case {"operation": "delete"}:
                target.pop((message["type"], message["key"]), None)
            case _:
                entity = message["type"], message["key"]
                value = value_of(message, target.get(entity))
                if value is None:
                    target.pop(entity, None)
                elif value is not REFUSED:
                    target[entity] = value
    return state
