"""Dead letters: the newest of each entity, until a later change of it is accepted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from django.db.models import Count

from durable_state.conversion import printable
from durable_state.databases import find_database
from durable_state.databases.clock import database_now
from durable_state.databases.statements import statement_bytes
from durable_state.models import DeadLetter, Stream, entity_digest
from durable_state.protocol import Change, Malformed, decode, explain

from .batch.compaction import RefusedChange
from .batch.preparation import Prepared, as_message
from .plan import TypePlan
from .rows.rows import RowFailure, chunks, in_statements

__all__ = ["PROTECTED", "Letter", "LetterBox", "SilentLetterBox"]

PROTECTED = "protected"
"""The reason of a delete that the application's rows prevent."""

KEPT = 64 * 1024
"""Bytes that are kept of a message too large for the database."""
BESIDE = 100_000
"""The most bytes that a letter needs beside its message."""
LONGEST = 5000
"""Characters of a key, a type or a detail that are kept."""


class Letter(NamedTuple):
    """One refused message, and why."""

    entity: str
    """The digest of the entity, or a name of its own where the message names none."""
    type: str
    key: str
    ordinal: int
    reason: str
    """The reason code."""
    detail: str
    body: bytes
    """The message, as it came."""

    @classmethod
    def of_change(cls, refused: RefusedChange) -> Letter:
        """The letter of a change that was never accepted."""
        ordinal, change, refusal = refused.ordinal, refused.change, refused.refusal
        entity = entity_digest(change.type, change.key)
        return cls(
            entity, change.type, change.key, ordinal, refusal.code, refusal.detail, change.raw
        )

    @classmethod
    def of_put(cls, plan: TypePlan, failure: RowFailure, put: Prepared) -> Letter:
        """The letter of an accepted change that the database refused when its row was written.

        With a mapping that merges, it holds all values of the entity, not only the newest change.
        """
        body = as_message(plan, put, whole=plan.mapping.merges)
        return cls.of_entity(plan, put.key, put.ordinal, failure.reason, failure.detail, body)

    @classmethod
    def of_entity(
        cls, plan: TypePlan, key: str, ordinal: int, reason: str, detail: str, body: bytes
    ) -> Letter:
        """The letter of an entity of which a change was accepted once."""
        return cls(plan.digest(key), plan.type, key, ordinal, reason, detail, body)

    @classmethod
    def of_malformed(cls, ordinal: int, item: Malformed) -> Letter:
        """The letter of an item that names no entity."""
        entity = f"{DeadLetter.NO_ENTITY}{ordinal}"
        names = item.type or "", item.key or ""
        return cls(entity, *names, ordinal, item.reason, explain(item), item.raw)


class LetterBox:
    """The dead letters of one stream, or of a replay of it."""

    def __init__(self, stream: Stream, *, replayed: bool = False) -> None:
        self._stream = stream
        self._without_entity = DeadLetter.REPLAYED if replayed else DeadLetter.SHOWN
        self._all = DeadLetter.objects.using(stream.using).filter(stream=stream)
        self._occupied: bool | None = None

    @property
    def occupied(self) -> bool:
        """Whether the stream has any letter; a stream without one pays one query per commit."""
        if self._occupied is None:
            self._occupied = self._all.exists()
        return self._occupied

    def write(self, letters: Iterable[Letter], *, generation: int = DeadLetter.SHOWN) -> None:
        """Writes letters of the shown state or of a generation; each replaces the entity's older
        one.
        """
        rows = [
            DeadLetter(
                stream=self._stream,
                generation=generation,
                entity=letter.entity,
                type=printable(letter.type, LONGEST),
                key=printable(letter.key, LONGEST),
                ordinal=letter.ordinal,
                reason=letter.reason[:40],
                detail=printable(letter.detail, LONGEST),
                body=letter.body,
                created_at=database_now(self._stream.using),
            )
            for letter in letters
        ]
        if rows:
            self.remove(generation, (row.entity for row in rows))
            self._create(rows)

    def write_malformed(self, malformed: Iterable[tuple[int, Malformed]]) -> None:
        """Writes letters of items that name no entity.

        They belong to the shown state at once, whatever is being staged, if this is no replay.
        """
        letters = (Letter.of_malformed(ordinal, item) for ordinal, item in malformed)
        self.write(letters, generation=self._without_entity)

    def take_over_replayed(self) -> None:
        """Replaces the letters that name no entity by those of the stream's replay."""
        self._all.filter(
            generation=DeadLetter.SHOWN, entity__startswith=DeadLetter.NO_ENTITY
        ).delete()
        self._all.filter(generation=DeadLetter.REPLAYED).update(generation=DeadLetter.SHOWN)

    def protected(self, until: int, most: int | None) -> dict[str, list[str]]:
        """The keys of protected deletes up to an ordinal, by type; at most the oldest ``most``."""
        if not self.occupied:
            return {}
        letters = self._all.filter(
            generation=DeadLetter.SHOWN, reason=PROTECTED, ordinal__lte=until
        )
        found: dict[str, list[str]] = {}
        for body in letters.order_by("ordinal", "pk").values_list("body", flat=True)[:most]:
            message = decode(bytes(body))
            if isinstance(message, Change):
                found.setdefault(message.type, []).append(message.key)
        return found

    def remove(self, generation: int, digests: Iterable[str]) -> None:
        """Deletes the letters of entities of which a later change was accepted."""
        if self.occupied:
            for chunk in chunks(digests):
                self._all.filter(generation=generation, entity__in=chunk).delete()

    def promote(self, generation: int, types: Iterable[str] | None) -> None:
        """Replaces the shown state's letters, of these types or of all, by the generation's."""
        # The older letters are deleted, except for those that name no entity.
        shown = self._all.filter(generation=DeadLetter.SHOWN).exclude(
            entity__startswith=DeadLetter.NO_ENTITY
        )
        if types is None:
            shown.delete()
        else:
            for chunk in chunks(printable(entity_type, LONGEST) for entity_type in types):
                shown.filter(type__in=chunk).delete()

        met = self._all.filter(generation=generation)
        self.remove(DeadLetter.SHOWN, list(met.values_list("entity", flat=True)))
        met.update(generation=DeadLetter.SHOWN)
        self._occupied = None

    def carry(self, generation: int, into: int, spoken: Iterable[str]) -> None:
        """Moves the letters of all types but ``spoken`` from one generation to another."""
        said = [printable(entity_type, LONGEST) for entity_type in spoken]
        self._all.filter(generation=generation).exclude(type__in=said).update(generation=into)

    def drop(self, generation: int) -> None:
        """Deletes the letters of a generation that will not be shown."""
        if self.occupied:
            self._all.filter(generation=generation).delete()

    def count(self, generations: Iterable[int]) -> int:
        """How many letters there are, or will be once one of the generations is shown, if that is
        more.
        """
        own = self._without_entity
        met = self._all.filter(generation__in=[own, *generations]).order_by()
        counts: dict[int, int] = dict(met.values_list("generation").annotate(Count("pk")))
        shown, staged = counts.pop(own, 0), max(counts.values(), default=0)
        return max(shown, staged) if own == DeadLetter.SHOWN else shown + staged

    def _create(self, rows: list[DeadLetter]) -> None:
        largest = find_database(self._stream.using).largest_statement()
        for row in rows:
            if largest is not None and statement_bytes([row.body]) > largest - BESIDE:
                row.detail = (
                    f"{row.detail} Of the message's {len(row.body)} bytes the first {KEPT} are"
                    " kept:"
                    f" the database takes no more at once (max_allowed_packet = {largest})."
                )
                row.body = row.body[:KEPT]
        for some in in_statements(rows, lambda row: len(row.body)):
            self._all.bulk_create(some)
            self._occupied = True


class SilentLetterBox(LetterBox):
    """Has no letters and writes none, for a fold that is only compared."""

    @property
    def occupied(self) -> bool:
        """False, so that nothing is removed either."""
        return False

    def write(self, letters: Iterable[Letter], *, generation: int = DeadLetter.SHOWN) -> None:
        """Writes nothing."""

    def carry(self, generation: int, into: int, spoken: Iterable[str]) -> None:
        """Moves nothing."""
