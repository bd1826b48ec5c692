"""Dead letters: one per entity, the newest; gone when a later change is accepted."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import IntegrityError
from django.db.models import Count

from durable_state.models import DeadLetter, Stream, entity_digest
from durable_state.protocol import Malformed, encode_change

from .compaction import Letter
from .plan import TypePlan
from .preparation import Prepared, to_bytes
from .rows import chunks

__all__ = ["LetterBox"]


class LetterBox:
    """The dead letters of one stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._all = DeadLetter.objects.using(stream._state.db).filter(stream=stream)
        self._occupied: bool | None = None

    @property
    def occupied(self) -> bool:
        """Whether the stream has any letter; a stream without pays one query a commit."""
        if self._occupied is None:
            self._occupied = self._all.exists()
        return self._occupied

    def write(self, generation: int, letters: Iterable[Letter]) -> None:
        """Writes letters of entities, each in place of the entity's older one."""
        rows = [
            DeadLetter(
                stream=self._stream,
                generation=generation,
                entity=entity_digest(letter.change.type, letter.change.key),
                type=_printable(letter.change.type),
                key=_printable(letter.change.key),
                ordinal=letter.ordinal,
                reason=letter.refusal.code[:40],
                detail=_printable(letter.refusal.detail),
                body=letter.change.raw,
            )
            for letter in letters
        ]
        self.remove(generation, (row.entity for row in rows))
        self._create(rows)

    def write_refused(self, plan: TypePlan, refused: list[tuple[Prepared, Exception]]) -> None:
        """Writes letters of staged entities that the database refused at the switch."""
        rows = [
            DeadLetter(
                stream=self._stream,
                entity=plan.digest(prepared.key),
                type=plan.type,
                key=prepared.key,
                ordinal=prepared.ordinal,
                reason="integrity" if isinstance(error, IntegrityError) else "data",
                detail=str(error),
                body=encode_change(plan.type, prepared.key, "upsert", plan.decode(to_bytes(prepared))),
            )
            for prepared, error in refused
        ]
        self.remove(0, (row.entity for row in rows))
        self._create(rows)

    def write_malformed(self, malformed: Iterable[tuple[int, Malformed]]) -> None:
        """Writes letters of items that name no entity; they belong to the shown state at once, whatever is being staged."""
        rows = [
            DeadLetter(
                stream=self._stream,
                entity=f"{DeadLetter.NO_ENTITY}{ordinal}",
                type=_printable(item.type or ""),
                key=_printable(item.key or ""),
                ordinal=ordinal,
                reason=item.reason[:40],
                detail="This is no message of the State Protocol.",
                body=item.raw,
            )
            for ordinal, item in malformed
        ]
        if self.occupied:
            for chunk in chunks(row.entity for row in rows):
                self._all.filter(generation=0, entity__in=chunk).delete()
        self._create(rows)

    def remove(self, generation: int, digests: Iterable[str]) -> None:
        """Takes away the letters of entities that a later change made good."""
        if self.occupied:
            for chunk in chunks(digests):
                self._all.filter(generation=generation, entity__in=chunk).delete()

    def promote(self, generation: int, types: Iterable[str], into: int = 0) -> None:
        """The letters met while ``generation`` was staged take the place of those of its types in ``into``."""
        for entity_type in types:
            shown = self._all.filter(generation=into, type=_printable(entity_type))
            shown.exclude(entity__startswith=DeadLetter.NO_ENTITY).delete()
        self._all.filter(generation=generation).update(generation=into)
        self._occupied = None

    def drop(self, generation: int) -> None:
        """Forgets the letters of a generation that is not going to be shown."""
        if self.occupied:
            self._all.filter(generation=generation).delete()

    def count(self) -> int:
        """How many letters the stream has; while another state is made beside the shown one, the larger number of the two."""
        counts = self._all.order_by().values("generation").annotate(letters=Count("pk"))
        return max((each["letters"] for each in counts), default=0)

    def _create(self, rows: list[DeadLetter]) -> None:
        for chunk in chunks(rows):
            self._all.bulk_create(chunk)
            self._occupied = True


def _printable(text: str) -> str:
    """Text that every database takes: NUL and lone surrogates are shown as escapes."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
