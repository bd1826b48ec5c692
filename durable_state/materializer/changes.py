"""What a commit changes: rows, for the feed; and whatever parked changes may have waited for."""

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
"""How many entities of one kind (shown, parked, waited for) a commit remembers; beyond that, it
looks at everything that is parked instead."""

K = TypeVar("K")


@dataclass(slots=True)
class Outcome:
    """The first disposition of each message of a batch, and what changed in the shown rows.

    The counts are named as ``DISPOSITIONS`` are; with what its generations hold
    (``Generation.changes``), they add up to the messages that were read.
    """

    listed: int
    """The most changed rows that are listed one by one."""
    valued: int = 0
    """The most changed rows whose written values are kept."""
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
    """By (type, key) the values of a row's mapped columns, where these tell what is shown; mapped
    parents are given by their entity keys."""
    changed_types: set[str] = field(default_factory=set)
    """The types of all changed rows, listed or not."""
    too_many: bool = False
    """Whether too many rows changed to be listed; then none is."""
    gone: dict[tuple[str, str], None] | None = field(default_factory=dict)
    """If too many changed, the entities whose rows were deleted; None if those are more than
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

        # An entity's newest change comes last; what was written before is no longer what it holds.
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
        """Keeps the values written into rows, by entity key, as far as they tell what is shown.

        The rows' changes must have been noted. Mapped parents are given by their entity keys, or
        UNSET.
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
    """Keys by their owner; None where an owner has more than ``LISTED``."""

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
    """What this commit makes available that parked changes may wait for.

    These are newly shown rows, if rows of other types can point to them, and free unique values.
    ``parents`` lists the rows of the whole commit that other streams may wait for.
    """

    def __init__(self, plans: StreamPlan) -> None:
        self.parents: Listed[TypePlan] = Listed()
        self._plans = plans
        self._fresh: Listed[TypePlan] = Listed()
        self._freed: Listed[TypePlan] = Listed()
        self._watched: dict[TypePlan, list[Listed[TypePlan]]] = {}

    def add_parents(self, plan: TypePlan, keys: Iterable[str]) -> None:
        """Notes rows that were not there before."""
        if plan not in self._watched:
            self._watched[plan] = self._watchers(plan)
        if watchers := self._watched[plan]:
            new = list(keys)
            for listed in watchers:
                listed.add(plan, new)

    def _watchers(self, plan: TypePlan) -> list[Listed[TypePlan]]:
        """The lists in which new rows of the type have to be noted."""
        watchers = []
        if self._plans.children(plan):
            watchers.append(self._fresh)
        if is_awaited_elsewhere(plan):
            watchers.append(self.parents)
        return watchers

    def add_freed(self, plan: TypePlan, holders: Iterable[str]) -> None:
        """Notes that unique values are free that these entities had, or were to have."""
        if plan.unique_sets:
            self._freed.add(plan, holders)

    def take(self) -> tuple[dict[TypePlan, set[str] | None], dict[TypePlan, set[str] | None]]:
        """The parents shown since the last call, and the entities that gave up unique values."""
        return self._fresh.take(), self._freed.take()


def _tells(plan: TypePlan, values: Values) -> bool:
    documents = (values[planned.place] for planned in plan.documents)
    names = (values[planned.place] for planned in plan.named_parents)
    return all(map(is_given_back, documents)) and all(name is not UNSET for name in names)


def is_awaited_elsewhere(plan: TypePlan) -> bool:
    """Whether rows of other streams may point to rows of the type."""
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
