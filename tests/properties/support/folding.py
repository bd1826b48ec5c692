"""The fold of the design, for streams of which every change is accepted."""

from __future__ import annotations

from typing import Any

__all__ = ["Entity", "Fold", "fold"]

Entity = tuple[str, str]
Fold = dict[Entity, Any]
"""The values that the stream holds, by entity."""


def fold(messages: list[dict[str, Any]]) -> Fold:
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
                target[message["type"], message["key"]] = message["value"]
    return state
