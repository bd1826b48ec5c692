"""Entities that the stream holds and the tables cannot show yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db.models import Q

from durable_state.models import ParkedChange, Stream

from .plan import TypePlan
from .preparation import Prepared, as_message, to_bytes
from .rows import chunks

__all__ = ["Parking", "ParkingLot"]


@dataclass(slots=True)
class Parking:
    """One entity to be parked, and why. ``waits_for`` is the digest of a mapped parent, or empty."""

    plan: TypePlan
    prepared: Prepared
    reason: str
    detail: str
    waits_for: str = ""
    hidden: bool = True


class ParkingLot:
    """The parked changes of one stream. Remembers whether there are any at all, so that a stream without pays one query a commit."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._all = ParkedChange.objects.using(stream._state.db).filter(stream=stream)
        self._occupied: bool | None = None

    @property
    def occupied(self) -> bool:
        """Whether anything is parked."""
        if self._occupied is None:
            self._occupied = self._all.exists()
        return self._occupied

    def park(self, parkings: list[Parking]) -> None:
        """Parks the entities, each replacing what was parked of it before."""
        if not parkings:
            return
        rows = [
            ParkedChange(
                stream=self._stream,
                entity=parking.plan.digest(parking.prepared.key),
                type=parking.plan.type,
                key=parking.prepared.key,
                ordinal=parking.prepared.ordinal,
                reason=parking.reason,
                waits_for=parking.waits_for,
                detail=parking.detail,
                body=as_message(parking.plan, parking.prepared),
                prepared=to_bytes(parking.prepared),
                hidden=parking.hidden,
            )
            for parking in parkings
        ]
        self.remove(row.entity for row in rows)
        self._all.bulk_create(rows)
        self._occupied = True

    def remove(self, digests: Iterable[str]) -> None:
        """Forgets what is parked of the entities."""
        if self.occupied:
            for chunk in chunks(digests):
                self._all.filter(entity__in=chunk).delete()

    def clear(self, types: Iterable[str]) -> None:
        """Forgets all that is parked of the types."""
        for chunk in chunks(types):
            self._all.filter(type__in=chunk).delete()
        self._occupied = None

    def keys(self, entity_type: str) -> Iterator[list[str]]:
        """The keys of what is parked of a type, chunk by chunk."""
        last = 0
        while self.occupied:
            found = list(self._all.filter(type=entity_type, pk__gt=last).order_by("pk").values_list("pk", "key")[:500])
            if not found:
                return
            last = found[-1][0]
            yield [key for _, key in found]

    def of(self, digests: Iterable[str]) -> dict[str, ParkedChange]:
        """What is parked of the entities, by digest."""
        if not self.occupied:
            return {}
        return {parked.entity: parked for chunk in chunks(digests) for parked in self._all.filter(entity__in=chunk)}

    def unbound(self) -> list[ParkedChange]:
        """Those that no entity of this stream brings: they wait for a unique value, or for a row of somebody else's."""
        return list(self._all.filter(Q(reason="unique") | Q(waits_for=""))) if self.occupied else []

    def waiting_for(self, shown: Iterable[str] | None) -> list[ParkedChange]:
        """Those that wait for one of the entities; None: for any."""
        if not self.occupied:
            return []
        if shown is None:
            return list(self._all.exclude(waits_for=""))
        return [parked for chunk in chunks(shown) for parked in self._all.filter(waits_for__in=chunk)]
