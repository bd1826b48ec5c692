"""What a commit changes: the rows that the feed tells of, and what parked changes may wait for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from msgspec import UNSET

from durable_state.conversion import is_given_back
from durable_state.registry import EntityMapping, registry
from durable_state.registry.columns import parent_model

from .plan import StreamPlan, TypePlan, Values

__all__ = ["Listed", "Openings", "Outcome", "is_awaited_elsewhere"]

LISTED = 50_000
"""What a commit remembers of one kind (entities shown, parked, waited for) before it looks at all
that is parked instead."""

K = TypeVar("K")


@dataclass(slots=True)
class Outcome:
    """The first disposition of each message of a batch, and what changed in the shown rows.

    The counts are named as ``DISPOSITIONS`` are; with what its generations hold
    (``Generation.changes``), they add up to the messages that were read.
    """

    listed: int
    """How many changed rows are listed one by one, at most."""
    valued: int = 0
    """Up to how many changed rows it is kept what was written into them."""
    applied: int = 0
    no_row: int = 0
    parked: int = 0
    dead_letters: int = 0
    unregistered: int = 0
    control: int = 0
    superseded: int = 0
    changes: dict[tuple[str, str], bool] = field(default_factory=dict)
    """By (type, key) whether the row was deleted, or else written; in the order of the last change.
    """
    written: dict[tuple[str, str], Values] = field(default_factory=dict)
    """By (type, key) what a row's mapped columns hold by now, where that tells what is shown, but
    for mapped parents, of which it is their entity keys."""
    changed_types: set[str] = field(default_factory=set)
    """The types of all changed rows, listed or not."""
    too_many: bool = False
    """Whether more rows changed than are listed; then none is."""
    gone: dict[tuple[str, str], None] | None = field(default_factory=dict)
    """Where too many changed: the entities whose rows were deleted; None where those are more than
    ``LISTED``.
    """
    txids: dict[tuple[str, str, str], None] = field(default_factory=dict)
    """The transactions with the entities that they concern, however they ended: (txid, type, key).
    """
    letters_written: bool = False
    """Whether there may be more dead letters than before."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """The unregistered messages by type."""

    def changed(self, entity_type: str, keys: Iterable[str], *, deleted: bool) -> None:
        """Notes that the rows of entities were written or deleted."""
        changes, keys = self.changes, list(keys)
        if keys:
            self.changed_types.add(entity_type)
        if not self.too_many and len(keys) > self.listed and len(set(keys)) > self.listed:
            self._list_gone()
        if self.too_many:
            self._note_gone(entity_type, keys, deleted=deleted)
            return

        # The newest of an entity comes last; what was written before is no more what it holds.
        for place, key in enumerate(keys, 1):
            changes.pop((entity_type, key), None)
            changes[entity_type, key] = deleted
            if self.written:
                self.written.pop((entity_type, key), None)
            if len(changes) > self.listed:
                self._list_gone()
                self._note_gone(entity_type, keys[place:], deleted=deleted)
                return

    def _list_gone(self) -> None:
        """From now on only deleted rows are listed."""
        self.too_many = True
        self.gone = {entity: None for entity, deleted in self.changes.items() if deleted}
        self.changes.clear()

    def _note_gone(self, entity_type: str, keys: Iterable[str], *, deleted: bool) -> None:
        if self.gone is None:
            return
        if deleted:
            self.gone |= dict.fromkeys((entity_type, key) for key in keys)
        else:
            for key in keys:
                self.gone.pop((entity_type, key), None)
        if len(self.gone) > LISTED:
            self.gone = None

    def keep_written(self, plan: TypePlan, rows: Iterable[tuple[str, Values]]) -> None:
        """Keeps what was written into rows whose change was noted, by their entity keys, as far as
        that tells what is shown. Mapped parents are to be named by their entity keys, or UNSET.
        """
        if len(self.changes) > self.valued or self.too_many:
            self.written.clear()
        elif plan.is_shown_as_written:
            told = ((key, values) for key, values in rows if _tells(plan, values))
            self.written.update(((plan.type, key), values) for key, values in told)

    def take_changes(self, other: Outcome) -> None:
        """Adds what changed in a part of the batch that went through."""
        for (entity_type, key), deleted in other.changes.items():
            self.changed(entity_type, [key], deleted=deleted)
        self.changed_types |= other.changed_types
        if other.too_many:
            if not self.too_many:
                self._list_gone()
            if self.gone is None or other.gone is None:
                self.gone = None
            else:
                # Rows of the same entity are never in two parts of a batch.
                self.gone |= other.gone


class Listed(dict[K, set[str] | None]):
    """Keys by what they belong to, while they are few: None where they are more than ``LISTED``."""

    def add(self, owner: K, keys: Iterable[str]) -> None:
        """Lists more keys of the owner."""
        new = set(keys)
        listed = self.setdefault(owner, set()) if new else None
        if listed is None:
            return
        listed |= new
        if len(listed) > LISTED:
            self[owner] = None

    def take(self) -> dict[K, set[str] | None]:
        """What was listed since the last call."""
        taken = dict(self)
        self.clear()
        return taken


class Openings:
    """What parked changes may wait for, as this commit brings it.

    Rows that are newly shown, as far as other types' rows point to them, and unique values that
    are free. ``parents`` are those rows of the whole commit that other streams may wait for.
    """

    def __init__(self, plans: StreamPlan) -> None:
        self.parents: Listed[TypePlan] = Listed()
        self._plans = plans
        self._fresh: Listed[TypePlan] = Listed()
        self._freed: Listed[TypePlan] = Listed()
        self._watched: dict[TypePlan, list[Listed[TypePlan]]] = {}

    def add_parents(self, plan: TypePlan, keys: Iterable[str]) -> None:
        """Rows are there that were not there before."""
        if plan not in self._watched:
            self._watched[plan] = self._watchers(plan)
        if watchers := self._watched[plan]:
            new = list(keys)
            for listed in watchers:
                listed.add(plan, new)

    def _watchers(self, plan: TypePlan) -> list[Listed[TypePlan]]:
        """Where new rows of the type have to be listed."""
        watchers = []
        if self._plans.children(plan):
            watchers.append(self._fresh)
        if is_awaited_elsewhere(plan):
            watchers.append(self.parents)
        return watchers

    def add_freed(self, plan: TypePlan, holders: Iterable[str]) -> None:
        """Unique values that these entities had, or were going to have, are free."""
        if plan.unique_sets:
            self._freed.add(plan, holders)

    def take(self) -> tuple[dict[TypePlan, set[str] | None], dict[TypePlan, set[str] | None]]:
        """The parents that were newly shown, and who gave up unique values, since the last call."""
        return self._fresh.take(), self._freed.take()


def _tells(plan: TypePlan, values: Values) -> bool:
    documents = (values[planned.place] for planned in plan.documents)
    names = (values[planned.place] for planned in plan.named_parents)
    return all(map(is_given_back, documents)) and all(name is not UNSET for name in names)


def is_awaited_elsewhere(plan: TypePlan) -> bool:
    """Whether rows of other streams may point to rows of this type."""
    mapping = plan.mapping
    if mapping.stream_field is not None:
        return False  # a stream sees its own rows of such a table only
    others = (
        other
        for other in registry
        if other.model is not mapping.model
        and (other.stream_field is not None or not plan.ownership.has(other))
    )
    return any(mapping.model in _parents(other) for other in others)


def _parents(mapping: EntityMapping) -> set[Any]:
    """The models that the mapped fields point to."""
    return {parent_model(field) for field in mapping.mapped_fields}
