"""The ordinary changes of one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from durable_state.conf import get_settings
from durable_state.databases import Answer, Statement
from durable_state.databases.plain_sql import updating_row
from durable_state.errors import MappingFault
from durable_state.models import Stream, TypeState

from ..batch.prepared_batch import PreparedBatch
from ..batch.sampling import Sample
from ..changes import Outcome
from ..plan import TypePlan
from .entities import DirectEntities
from .ordinary import find_ordinary
from .unusual import Unusual

__all__ = ["DirectChanges", "TypeFacts"]

TypeFacts = Mapping[str, tuple[str, dict[str, Any]]]
"""By the digest of a type: the fingerprint of the mapping that made its rows, and the sample."""


class DirectChanges:
    """Writes the changes of a batch, if all of them are ordinary.

    Once the statements that write them are made, ``outcome`` says what became of them, and
    ``learned`` holds the facts of the types that they change.
    """

    def __init__(
        self, stream: Stream, batch: PreparedBatch, ordinary: Sequence[DirectEntities]
    ) -> None:
        settings = get_settings()
        self.outcome = Outcome(settings.feed_entry_rows, settings.feed_value_rows)
        self.outcome.txids |= batch.txids
        self.learned: dict[str, tuple[str, dict[str, Any]]] = {}
        self.database = batch.plans.database
        self._stream = stream
        self._samples = batch.samples
        self._ordinary = ordinary

    @classmethod
    def find(cls, stream: Stream, batch: PreparedBatch) -> DirectChanges | None:
        """The changes of the batch; None where any of them is not ordinary."""
        found = find_ordinary(batch)
        if found is None:
            return None
        try:
            return cls(stream, batch, [DirectEntities(plan, entities) for plan, entities in found])
        except MappingFault:
            return None

    @property
    def type_digests(self) -> list[str]:
        """The names of the types in our tables."""
        return [each.plan.digest_of_type for each in self._ordinary]

    @property
    def entity_digests(self) -> list[str]:
        """The names of the entities in our tables."""
        return [each.plan.digest(one.key) for each in self._ordinary for one in each.entities]

    @property
    def tables(self) -> list[str]:
        """The labels of models whose tables must belong to the stream alone."""
        mappings = [each.plan.mapping for each in self._ordinary]
        return sorted({each.label for each in mappings if each.stream_field is None})

    @property
    def tells_all(self) -> bool:
        """Whether the written values alone tell what each row shows afterwards."""
        outcome = self.outcome
        return all(deleted or name in outcome.written for name, deleted in outcome.changes.items())

    @property
    def are_new(self) -> bool:
        """Whether all rows are to be inserted, and name no parents."""
        return all(each.are_new for each in self._ordinary)

    @property
    def met_rows(self) -> bool | None:
        """Whether any of the rows to insert was there; None if none is to be inserted."""
        if not any(each.inserted for each in self._ordinary):
            return None
        return any(each.met_rows for each in self._ordinary)

    def reading(self) -> list[Statement]:
        """Statements that read all rows that the changes concern. Raises: Unusual."""
        return [statement for each in self._ordinary for statement in each.reading()]

    def writing(self, types: TypeFacts, answers: Sequence[Answer]) -> list[Statement]:
        """Statements that write the changes, given what was read. Raises: Unusual."""
        left = iter(answers)
        statements: list[Statement] = []
        for each in self._ordinary:
            statements += self._learning(each.plan, types)
            statements += each.writing(left, self.outcome)
        return statements

    def _learning(self, plan: TypePlan, types: TypeFacts) -> Iterator[Statement]:
        """A statement that stores the type's sample, if the changes have added anything."""
        digest = plan.digest_of_type
        fingerprint, stored = types.get(digest, ("", {}))
        if fingerprint != plan.mapping.fingerprint:
            raise Unusual
        sample = Sample.of(stored)
        if sample.learn(self._samples[plan.type]):
            self.learned[digest] = fingerprint, sample.to_json()
            where = {"stream": self._stream.pk, "digest": digest}
            yield updating_row(plan.database, TypeState, {"sample": sample.to_json()}, where)
