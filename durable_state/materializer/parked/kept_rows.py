"""Stores what the application has in rows that were deleted although the stream still holds their
entities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from django.db import models

from durable_state.models import KeptRow, Stream

from ..plan import TypePlan
from ..rows.kept import pack_row
from ..rows.rows import CHUNK, chunks, in_statements

__all__ = ["KeptRows"]


class KeptRows:
    """What is kept of the rows of one stream's parked entities: primary keys and unlisted columns.

    ``is_any_parked`` spares a stream that has nothing parked a query.
    """

    def __init__(self, stream: Stream, is_any_parked: Callable[[], bool]) -> None:
        self._stream = stream
        self._is_any_parked = is_any_parked
        self._all = KeptRow.objects.using(stream.using).filter(stream=stream)
        self._any: bool | None = None

    @property
    def any(self) -> bool:
        """Whether anything is kept; if nothing is parked, nothing is."""
        if self._any is None:
            self._any = self._is_any_parked() and self._all.exists()
        return self._any

    def keep(self, plan: TypePlan, rows: Iterable[models.Model]) -> None:
        """Keeps what rows that are about to be deleted hold beside the mapped columns."""
        for chunk in chunks(rows):
            kept = [self._pack(plan, row) for row in chunk]
            self._all.filter(entity__in=[each.entity for each in kept]).delete()
            for some in in_statements(kept, lambda row: len(row.columns)):
                self._all.bulk_create(some)
            self._any = True

    def _pack(self, plan: TypePlan, row: models.Model) -> KeptRow:
        key = plan.mapping.key_of(row)
        return KeptRow(
            stream=self._stream,
            entity=plan.digest(key),
            type=plan.type,
            key=key,
            columns=pack_row(plan, row),
        )

    def find(self, digests: Iterable[str]) -> dict[str, bytes]:
        """What was kept of the entities' rows, by digest."""
        if not self.any:
            return {}
        found: dict[str, bytes] = {}
        for chunk in chunks(digests):
            rows = self._all.filter(entity__in=chunk).values_list("entity", "columns")
            found.update((digest, bytes(columns)) for digest, columns in rows)
        return found

    def keys(self, entity_type: str) -> Iterator[list[str]]:
        """The keys of a type's entities with kept rows, in chunks."""
        last = 0
        while self.any:
            rows = self._all.filter(type=entity_type, pk__gt=last).order_by("pk")
            found = list(rows.values_list("pk", "key")[:CHUNK])
            if not found:
                return
            last = found[-1][0]
            yield [key for _, key in found]

    def forget(self, digests: Iterable[str]) -> None:
        """Forgets what was kept of entities that are shown again, or deleted for good."""
        if self.any:
            for chunk in chunks(digests):
                self._all.filter(entity__in=chunk).delete()
