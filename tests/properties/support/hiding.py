"""Mappings of branches and leaves that hide some of their rows."""

from __future__ import annotations

from typing import Any

from durable_state import EntityChange
from tests.app.grove_mappings import BranchMapping, LeafMapping

__all__ = ["HidingBranches", "HidingLeaves", "hiding"]

HIDDEN = {"branch": ("slug", "x"), "leaf": ("tag", "u")}
"""The values by which these mappings hide a row."""


class HidingBranches(BranchMapping):
    """Shows no branch ``x``."""

    def prepare(self, change: EntityChange) -> dict[str, Any] | None:
        raw = super().prepare(change)
        return None if raw is None or raw.get("slug") == "x" else raw


class HidingLeaves(LeafMapping):
    """Shows no leaf ``u``."""

    def prepare(self, change: EntityChange) -> dict[str, Any] | None:
        raw = super().prepare(change)
        return None if raw is None or raw.get("tag") == "u" else raw


def hiding(message: dict[str, Any], before: Any) -> Any:
    """What mappings that hide rows make of a message."""
    name, hidden = HIDDEN[message["type"]]
    return None if message["value"].get(name) == hidden else message["value"]
