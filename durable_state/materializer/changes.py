"""What a commit changes: the rows that the feed tells of, and what parked changes may wait for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from durable_state.registry import registry

from .plan import StreamPlan, TypePlan

__all__ = ["LISTED", "Motion", "Outcome"]

LISTED = 50_000
"""What a commit remembers of one kind (entities shown, parked, waited for) before it looks at all
that is parked instead."""


@dataclass(slots=True)
class Outcome:
    """The first disposition of each message of a batch, and what changed in the shown rows.

    The seven counts, and what its generations hold (``Generation.changes``), add up to the messages that were read. ``changes`` maps (type, key) to True where the row was deleted, False where it was written; in the order of the last change.
    ``txids`` are the transactions, each with the entities that it concerns, however they ended: (txid, type, key).
    ``passed_over`` has the unregistered ones by type.
    Beyond ``listed`` changes they are ``too_many`` and not kept; ``changed_types`` still says of which types they were.
    """

    listed: int
    applied: int = 0
    no_row: int = 0
    parked: int = 0
    dead_letters: int = 0
    unregistered: int = 0
    controls: int = 0
    superseded: int = 0
    changes: dict[tuple[str, str], bool] = field(default_factory=dict)
    changed_types: set[str] = field(default_factory=set)
    too_many: bool = False
    txids: dict[tuple[str, str, str], None] = field(default_factory=dict)
    letters_written: bool = False
    passed_over: Counter[str] = field(default_factory=Counter)

    def changed(self, entity_type: str, keys: Iterable[str], *, deleted: bool) -> None:
        """Notes that the rows of entities were written or deleted."""
        changes = self.changes
        for key in keys:
            self.changed_types.add(entity_type)
            if self.too_many:
                return
            changes.pop((entity_type, key), None)
            changes[entity_type, key] = deleted
            if len(changes) > self.listed:
                self.too_many = True
                changes.clear()

    def take_changes(self, other: Outcome) -> None:
        """Adds what changed in a part of the batch that went through."""
        for (entity_type, key), deleted in other.changes.items():
            self.changed(entity_type, [key], deleted=deleted)
        self.changed_types |= other.changed_types
        if other.too_many:
            self.too_many = True
            self.changes.clear()


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
