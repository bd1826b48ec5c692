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
    """Rows newly shown, as far as there are types whose rows point to them, and types in which unique values became free.

    ``parents`` are those shown in the whole commit that changes of other streams may wait for.
    """

    def __init__(self, plans: StreamPlan) -> None:
        self.parents: Keys = {}
        self._plans = plans
        self._fresh: Keys = {}
        self._freed: set[TypePlan] = set()
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
                keys = watcher.setdefault(plan, set())
                if keys is not None:
                    keys.add(key)
                    if len(keys) > LISTED:
                        watcher[plan] = None

    def freed(self, plan: TypePlan) -> None:
        """A row has gone or changed that may have held a unique value."""
        if plan.unique_sets:
            self._freed.add(plan)

    def take(self) -> tuple[Keys, set[TypePlan]]:
        """What was newly shown, and where values became free, since the last call."""
        taken = dict(self._fresh), self._freed
        self._fresh.clear()
        self._freed = set()
        return taken


def _awaited_elsewhere(plan: TypePlan) -> bool:
    """Whether rows of other streams may point to rows of this type."""
    mapping = plan.mapping
    if mapping.stream_field is not None:
        return False  # a stream sees its own rows of such a table only
    return any(
        field.related_model is mapping.model
        for other in registry
        if other.model is not mapping.model and (other.stream_field is not None or not plan.ownership.has(other))
        for field in other.mapped_fields
    )
