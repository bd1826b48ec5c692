"""What a commit moves that parked changes may wait for."""

from __future__ import annotations

from collections.abc import Iterable

from durable_state.registry import registry

from .parking import LISTED
from .plan import StreamPlan, TypePlan

__all__ = ["Motion"]

Keys = dict[TypePlan, set[str] | None]
"""Keys by type; None: more than ``LISTED``."""


class Motion:
    """Rows newly shown, as far as there are types whose rows point to them, and rows that gave up a unique value.

    ``parents`` are those shown in the whole commit that changes of other streams may wait for.
    """

    def __init__(self, plans: StreamPlan) -> None:
        self.parents: Keys = {}
        self._plans = plans
        self._fresh: Keys = {}
        self._freed: Keys = {}
        self._watched: dict[TypePlan, list[Keys]] = {}

    def shown(self, plan: TypePlan, new: Iterable[str]) -> None:
        """Rows are there that were not there before."""
        watchers = self._watched.get(plan)
        if watchers is None:
            watchers = self._watched[plan] = [
                keys
                for keys, wanted in (
                    (self._fresh, self._plans.children(plan)),
                    (self.parents, _awaited_elsewhere(plan)),
                )
                if wanted
            ]
        if not watchers:
            return
        for key in new:
            for watcher in watchers:
                _list(watcher, plan, key)

    def freed(self, plan: TypePlan, holders: Iterable[str]) -> None:
        """Unique values that these entities had, or were going to have, are free."""
        if plan.unique_sets:
            for key in holders:
                _list(self._freed, plan, key)

    def take(self) -> tuple[Keys, Keys]:
        """What was newly shown, and who gave up unique values, since the last call."""
        taken = dict(self._fresh), dict(self._freed)
        self._fresh.clear()
        self._freed.clear()
        return taken


def _list(listed: Keys, plan: TypePlan, key: str) -> None:
    keys = listed.setdefault(plan, set())
    if keys is not None:
        keys.add(key)
        if len(keys) > LISTED:
            listed[plan] = None


def _awaited_elsewhere(plan: TypePlan) -> bool:
    """Whether rows of other streams may point to rows of this type."""
    mapping = plan.mapping
    if mapping.stream_field is not None:
        return False  # a stream sees its own rows of such a table only
    return any(
        field.related_model is mapping.model
        for other in registry
        if other.model is not mapping.model
        and (other.stream_field is not None or not plan.ownership.has(other))
        for field in other.mapped_fields
    )
