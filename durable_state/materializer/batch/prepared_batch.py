"""The part of the fold that makes no queries: sorts messages by entity, and folds each entity's
changes.

It needs no transaction, so a slow ``prepare`` holds no lock.

Why: decision 26.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from durable_state.conversion import Refused
from durable_state.errors import MappingFault
from durable_state.models import Stream
from durable_state.protocol import Change, Control, ControlKind, Malformed, Message, txid_of

from ..plan import StreamPlan
from .compaction import EntityChanges, fold_entities
from .sampling import Sample, take_samples

__all__ = ["PreparedBatch", "Segment", "prepare_batch"]

LONGEST_TXID = 1000
"""Characters; longer transaction ids are not passed on, so that feed entries stay small."""


@dataclass(slots=True)
class Segment:
    """The changes between two controls: folded entities by type, and the ``control`` after them, if
    any.

    Entities of types without a mapping are only sorted. ``faults`` holds the types whose mapping
    failed; it matters only if they are to be written.
    """

    entities: dict[str, list[EntityChanges]]
    control: ControlKind | None = None
    faults: dict[str, MappingFault] = field(default_factory=dict)


@dataclass(slots=True)
class PreparedBatch:
    """Consecutive messages, for one fold only: writing them modifies the entities."""

    after: int
    """The ordinal that the first message follows."""
    count: int
    """How many messages they are."""
    plans: StreamPlan
    """The plans by which they were prepared."""
    segments: list[Segment] = field(default_factory=list)
    """The changes by entity, split at the controls between them."""
    malformed: list[tuple[int, Malformed]] = field(default_factory=list)
    """Items that name no entity, with their ordinals."""
    txids: dict[tuple[str, str, str], None] = field(default_factory=dict)
    """Each transaction with the entities that it concerns: (txid, type, key)."""
    samples: dict[str, Sample] = field(default_factory=dict)
    """What became of some changes, by type."""


def prepare_batch(
    stream: Stream, messages: Sequence[Message], after: int, refusal: Refused | None = None
) -> PreparedBatch:
    """Sorts the messages after ordinal ``after``, runs the mappings and converts values.

    Reads and writes no row. With ``refusal``, all changes are refused for that reason.
    """
    plans = StreamPlan(stream)
    batch = PreparedBatch(after, len(messages), plans)
    by_type: defaultdict[str, dict[str, EntityChanges]] = defaultdict(dict)
    for ordinal, message in enumerate(messages, after + 1):
        if type(message) is Change:
            entities = by_type[message.type]
            entity = entities.get(message.key)
            if entity is None:
                entity = entities[message.key] = EntityChanges(message.key, ordinal, message)
            else:
                entity.add(ordinal, message)
            if refusal is not None:
                entity.refuse(ordinal, refusal)
            if message.txid and len(message.txid) <= LONGEST_TXID:
                batch.txids[message.txid, message.type, message.key] = None
        elif isinstance(message, Control):
            batch.segments.append(_segment(plans, by_type, message.kind))
            by_type.clear()
        elif isinstance(message, Malformed):
            batch.malformed.append((ordinal, message))
            if message.type and message.key and (txid := txid_of(message)):
                batch.txids[txid, message.type, message.key] = None
    batch.segments.append(_segment(plans, by_type))
    batch.samples = take_samples(plans, _sound(batch.segments))
    return batch


def _sound(segments: Sequence[Segment]) -> Iterator[tuple[str, list[EntityChanges]]]:
    """The entities of the types whose mapping has not failed."""
    for segment in segments:
        for entity_type, entities in segment.entities.items():
            if entity_type not in segment.faults:
                yield entity_type, entities


def _segment(
    plans: StreamPlan,
    by_type: dict[str, dict[str, EntityChanges]],
    control: ControlKind | None = None,
) -> Segment:
    segment = Segment(
        {entity_type: list(entities.values()) for entity_type, entities in by_type.items()}, control
    )
    for entity_type, entities in segment.entities.items():
        if (plan := plans.compiled(entity_type)) is not None:
            try:
                fold_entities(plan, entities)
            except MappingFault as fault:
                segment.faults[entity_type] = fault
    return segment
