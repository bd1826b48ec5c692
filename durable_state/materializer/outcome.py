"""What became of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Outcome"]


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
