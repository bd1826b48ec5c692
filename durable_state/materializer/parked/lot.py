"""Parked changes: entities that the stream holds and the tables cannot show yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from django.db.models import QuerySet

from durable_state.conf import get_settings
from durable_state.databases.clock import database_now
from durable_state.models import Arrival, ParkedChange, Stream
from durable_state.registry import EntityMapping

from ..batch.preparation import Prepared, as_message, to_bytes
from ..changes import Listed
from ..plan import TypePlan
from ..rows.relations import MissingParent
from ..rows.rows import CHUNK, READ, chunks, in_statements
from .kept_rows import KeptRows

__all__ = ["Parking", "ParkingLot"]

POLLED = 500
"""Polled changes that each commit tries; an idle worker tries all of them."""


@dataclass(slots=True)
class Parking:
    """One entity to be parked, and why."""

    plan: TypePlan
    prepared: Prepared
    absent: MissingParent | None
    """The missing parent; if None, the entity's unique value is taken."""
    detail: str = ""
    """Which value is taken, and by whom."""
    holder: str | None = None
    """The key of the entity that has the value; None where it is none of this stream's."""
    stale: bool = False
    """Whether the entity's older row stays."""
    is_shown: bool = False
    """Whether the change itself is shown, only without the parent."""
    polled: bool = False
    """Whether nothing may announce that the value is free, so that it has to be tried regularly."""

    @property
    def reason(self) -> ParkedChange.Reason:
        """Why it is parked."""
        if self.is_shown:
            return ParkedChange.Reason.LINK
        return ParkedChange.Reason.UNIQUE if self.absent is None else ParkedChange.Reason.PARENT

    def row(self, stream: Stream) -> ParkedChange:
        """The model instance that stores it."""
        plan, absent = self.plan, self.absent
        if absent is not None:
            waits_for = absent.digest
        else:
            waits_for = "" if self.holder is None else plan.digest(self.holder)

        elsewhere = absent is not None and absent.elsewhere
        waits_type, waits_key = self._waits_for_entity()
        return ParkedChange(
            stream=stream,
            entity=plan.digest(self.prepared.key),
            type=plan.type,
            key=self.prepared.key,
            ordinal=self.prepared.ordinal,
            reason=self.reason,
            stale=self.stale,
            waits_for=waits_for,
            waits_on=absent.planned.parent.label
            if absent and elsewhere and absent.planned.parent
            else "",
            waits_type=waits_type,
            waits_key=waits_key,
            polled=self.polled or not waits_for,
            detail=self.detail if absent is None else str(absent),
            body=as_message(plan, self.prepared),
            prepared=to_bytes(plan, self.prepared),
            created_at=database_now(stream.using),
        )

    def _waits_for_entity(self) -> tuple[str, str]:
        """Type and key of what is in the way, for people; empty where it is not mapped."""
        if self.absent is not None:
            entity_type, key = self.absent.entity
            return (entity_type, str(key)) if entity_type else ("", "")
        return ("", "") if self.holder is None else (self.plan.type, self.holder)


class ParkingLot:
    """The parked changes of one stream, and what was kept of their rows.

    Remembers whether there are any at all, so that a stream without them pays one query per commit.
    ``awaited`` lists, by mapping, the parents of other streams that changes parked by this commit
    wait for.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.kept = KeptRows(stream, lambda: self.occupied)
        self.awaited: Listed[EntityMapping] = Listed()
        self._all = ParkedChange.objects.using(stream.using).filter(stream=stream)
        self._arrivals = Arrival.objects.using(stream.using).filter(stream=stream)
        self._new_orphans: Listed[str] = Listed()
        self._new_losers: Listed[str] = Listed()
        self._occupied: bool | None = None

    @property
    def occupied(self) -> bool:
        """Whether anything is parked."""
        if self._occupied is None:
            self._occupied = self._all.exists()
        return self._occupied

    def park(self, parkings: Iterable[Parking], *, seen: bool = False) -> None:
        """Parks the entities; each replaces what was parked of it before.

        With ``seen``, ``take_new_orphans`` does not return them.
        """
        for chunk in chunks(parkings):
            rows = [parking.row(self.stream) for parking in chunk]
            self._forget(row.entity for row in rows)
            for some in in_statements(rows, lambda row: len(row.body) + len(row.prepared)):
                self._all.bulk_create(some)
            self._occupied = True
            for parking, row in zip(chunk, rows, strict=True):
                self._note(parking, row, seen=seen)

    def _note(self, parking: Parking, row: ParkedChange, *, seen: bool) -> None:
        absent = parking.absent
        if absent is None:
            self._new_losers.add(row.type, [row.entity])
            return
        if not seen and not parking.is_shown:
            self._new_orphans.add(row.type, [row.entity])
        if row.waits_on and absent.planned.parent is not None:
            self.awaited.add(absent.planned.parent, [absent.key])

    def take_new_orphans(self) -> dict[str, set[str]]:
        """The digests of entities parked for a missing parent since the last call, by type."""
        return {
            entity_type: self._orphans(entity_type) if digests is None else digests
            for entity_type, digests in self._new_orphans.take().items()
        }

    def take_new_losers(self) -> Iterator[list[ParkedChange]]:
        """The changes parked for a unique value since the last call, page by page."""
        for entity_type, digests in self._new_losers.take().items():
            if digests is None:
                of_type = self._all.filter(type=entity_type, reason=ParkedChange.Reason.UNIQUE)
                yield from self._pages(of_type)
                continue
            for chunk in chunks(digests):
                yield from self._pages(self._all.filter(entity__in=chunk))

    def set_stale(self, digests: Iterable[str], *, stale: bool) -> None:
        """Notes whether the older rows of parked entities are shown."""
        if self.occupied:
            for chunk in chunks(digests):
                self._all.filter(entity__in=chunk).update(stale=stale)

    def stale_keys(self, plan: TypePlan, keys: Iterable[str]) -> set[str]:
        """The keys of those among the entities whose older row is still shown."""
        if not self.occupied:
            return set()
        found: set[str] = set()
        for chunk in chunks(plan.digest(key) for key in keys):
            stale = self._all.filter(entity__in=chunk, stale=True)
            found.update(stale.values_list("key", flat=True))
        return found

    def remove(self, digests: Iterable[str]) -> None:
        """Forgets entities that are shown, or that the stream has deleted."""
        if not self.occupied and not self.kept.any:
            return
        named = list(digests)
        self._forget(named)
        self.kept.forget(named)

    def _forget(self, digests: Iterable[str]) -> None:
        if self.occupied:
            for chunk in chunks(digests):
                self._all.filter(entity__in=chunk).delete()

    def clear(self, types: Iterable[str]) -> None:
        """Forgets everything parked of these types, but not what is kept of their rows."""
        _ = self.kept.any  # asked now, while something is still parked
        for chunk in chunks(types):
            self._all.filter(type__in=chunk).delete()
        self._occupied = None

    def keys(self, entity_type: str) -> Iterator[list[str]]:
        """The keys of a type's parked entities, in chunks."""
        last = 0
        while self.occupied:
            found = list(
                self._all.filter(type=entity_type, pk__gt=last)
                .order_by("pk")
                .values_list("pk", "key")[:CHUNK]
            )
            if not found:
                return
            last = found[-1][0]
            yield [key for _, key in found]

    def find(self, digests: Iterable[str]) -> dict[str, ParkedChange]:
        """The parked changes of these entities, by digest."""
        if not self.occupied:
            return {}
        return {
            parked.entity: parked
            for chunk in chunks(digests)
            for parked in self._all.filter(entity__in=chunk)
        }

    def polled(self, *, every: bool) -> Iterator[list[ParkedChange]]:
        """The polled changes, page by page: the oldest few, or with ``every`` all of them."""
        rows = self._all.filter(polled=True)
        return self._pages(rows) if every else islice(self._pages(rows, POLLED), 1)

    def waiting_for(self, others: Iterable[str] | None) -> Iterator[list[ParkedChange]]:
        """The changes that wait for one of ``others`` (a parent, or the holder of a unique value),
        page by page; None stands for any.
        """
        if not self.occupied:
            return
        if others is None:
            yield from self._pages(self._all.exclude(waits_for=""))
            return
        for chunk in chunks(others):
            yield from self._pages(self._all.filter(waits_for__in=chunk))

    def take_arrivals(self) -> Iterator[set[str]]:
        """The digests of parents whose arrival other streams have marked, in chunks; the marks are
        deleted.
        """
        while found := list(self._arrivals.order_by("pk").values_list("pk", "digest")[:READ]):
            for chunk in chunks(pk for pk, _ in found):
                self._arrivals.filter(pk__in=chunk).delete()
            yield {digest for _, digest in found}

    def _orphans(self, entity_type: str) -> set[str]:
        """The digests of all entities of a type that wait for a parent."""
        rows = self._all.filter(type=entity_type, reason=ParkedChange.Reason.PARENT)
        return set(rows.values_list("entity", flat=True))

    def _pages(
        self, rows: QuerySet[ParkedChange], size: int = READ
    ) -> Iterator[list[ParkedChange]]:
        """The changes that are parked now, in pages of bounded size, without any added later."""
        newest = self._all.order_by("-pk").values_list("pk", flat=True).first()
        last = 0
        while newest is not None:
            page: list[ParkedChange] = []
            room = get_settings().batch_bytes

            for parked in (
                rows.filter(pk__gt=last, pk__lte=newest)
                .order_by("pk")[:size]
                .iterator(chunk_size=50)
            ):
                page.append(parked)
                last, room = parked.pk, room - len(parked.prepared) - len(parked.body)
                if room <= 0:
                    break

            if not page:
                return
            yield page
