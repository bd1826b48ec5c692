"""Samples what becomes of each type's changes, so that a mapping that fits nothing can be told from
one that is not used.

Looks at some entities of each batch. Once enough were counted, nothing is written any more unless
it would change what is reported.

Why: decision 37.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from .preparation import UNDECODABLE

if TYPE_CHECKING:
    from ..plan import StreamPlan, TypePlan
    from .compaction import EntityChanges

__all__ = ["Sample", "take_samples"]

ENTITIES = 32
"""The most entities of a type that are looked at between two controls of a batch."""
VALUES = 8
"""Values whose members' names are noted where a mapped one is missing."""
ENOUGH = 5
"""Changes after which counting ends, so that a busy stream needs no further statement."""
NAMES = 40
"""Names of members that are kept, each up to ``LENGTH`` characters."""
LENGTH = 60

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Sample(msgspec.Struct):
    """What became of the changes that were looked at.

    ``rows`` counts those that made a row, ``no_row`` those for which ``prepare`` returned None.
    ``given`` are the model fields that any of them had; ``seen`` are the first members of their
    values.
    """

    rows: int = 0
    no_row: int = 0
    given: list[str] = []
    seen: list[str] = []

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Sample:
        """Loads a sample that ``to_json`` gave; {} is an empty one."""
        return msgspec.convert(stored, cls)

    def to_json(self) -> dict[str, Any]:
        """The sample as JSON values."""
        return msgspec.structs.asdict(self)

    def look_at(self, plan: TypePlan, entities: Sequence[EntityChanges]) -> None:
        """Counts some of these entities."""
        given = set(self.given)
        looked_at = entities[:: max(1, len(entities) // ENTITIES)][:ENTITIES]
        for entity in looked_at:
            if entity.no_row:
                self.no_row += 1
            elif entity.put is not None:
                self.rows += 1
                given.update(
                    planned.name
                    for planned, raw in zip(plan.fields, entity.put.raw, strict=True)
                    if raw is not UNSET
                )
        self.given = sorted(given)
        if len(given) < len(plan.fields):
            self._see(entity.newest.value for entity in looked_at[:VALUES])

    def learn(self, other: Sample) -> bool:
        """Adds another sample; False if that changes nothing that matters."""
        given, seen = set(self.given), set(self.seen)
        is_news = (
            not given.issuperset(other.given)
            or bool(other.rows and not self.rows)
            or bool(len(seen) < NAMES and not seen.issuperset(other.seen))
        )
        if self.rows + self.no_row >= ENOUGH and not is_news:
            return False
        self.rows += other.rows
        self.no_row += other.no_row
        self.given = sorted(given.union(other.given))
        self.seen += [name for name in other.seen if name not in seen][: NAMES - len(self.seen)]
        return bool(other.rows or other.no_row)

    def _see(self, values: Iterable[bytes | None]) -> None:
        seen = dict.fromkeys(self.seen)
        for value in values:
            try:
                seen |= dict.fromkeys(_decode_members(value or b"{}"))
            except UNDECODABLE:
                continue  # no object
        names = [name[:LENGTH] for name in seen if name.isprintable()]
        self.seen = names[:NAMES]


def take_samples(
    plans: StreamPlan, entities: Iterable[tuple[str, Sequence[EntityChanges]]]
) -> dict[str, Sample]:
    """Samples by type, of each type that has a mapping; ``entities`` may name a type repeatedly."""
    samples: dict[str, Sample] = {}
    for entity_type, same in entities:
        plan = plans.compiled(entity_type)
        if plan is not None:
            samples.setdefault(entity_type, Sample()).look_at(plan, same)
    return samples
