"""A stream of branches and leaves, whose rows the application also writes."""

from __future__ import annotations

from typing import Any

from durable_state.models import ParkedChange
from durable_state.testing import apply
from tests.wire import change

__all__ = ["branch", "grove", "leaf", "parked"]


def grove(using: str, *batches: list[dict[str, Any]]) -> None:
    """Applies the batches to the stream "grove", one after the other."""
    for batch in batches:
        apply("grove", batch, using=using)


def branch(key: str, slug: str | None = None, boss: str | None = None, op: str = "upsert") -> Any:
    """A branch under another one."""
    return change("branch", key, op, slug=slug or key, boss=boss)


def leaf(key: str, branch: str, tag: str | None = None) -> Any:
    """A leaf of a branch."""
    return change("leaf", key, "upsert", branch=branch, tag=tag)


def parked(using: str) -> dict[str, tuple[str, bool]]:
    """Why each parked entity waits, and whether its older row is still shown."""
    changes = ParkedChange.objects.using(using)
    return {each.key: (each.reason, each.stale) for each in changes.all()}
