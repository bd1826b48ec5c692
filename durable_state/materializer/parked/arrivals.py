"""Tells streams about parents that other streams have shown: the commit that shows a parent marks
its arrival for the streams whose changes wait for it.

Why: decision 22.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.db import IntegrityError, transaction

from durable_state.models import Arrival, AwaitedModel, ParkedChange, Stream
from durable_state.registry import EntityMapping, registry

from ..changes import Openings
from ..plan import TypePlan
from ..rows.relations import parent_digest, shown_parents
from ..rows.rows import chunks
from .lot import ParkingLot

__all__ = ["exchange_arrivals"]


def exchange_arrivals(lot: ParkingLot, openings: Openings) -> None:
    """Tells other streams about the parents that this commit shows, and looks once more for those
    that changes parked by this commit wait for.

    This is the last thing that a commit does with rows. Commits with a model in common do it one
    after the other, since they hold its lock until they end; so the later one sees what the
    earlier one did. A commit that touches no such model takes no lock.
    """
    labels = {plan.mapping.label for plan in openings.parents} | {
        parent.label for parent in lot.awaited
    }
    if not labels:
        return
    _lock(sorted(labels), lot.stream)
    for plan, keys in openings.parents.items():
        _announce(plan, keys)
    for parent, wanted in lot.awaited.items():
        _look_again(lot.stream, parent, wanted)


def _lock(labels: list[str], stream: Stream) -> None:
    models = AwaitedModel.objects.using(stream.using)
    locked = models.filter(model__in=labels).order_by("model").select_for_update()
    missing = set(labels) - {each.model for each in locked}
    for label in sorted(missing):
        try:
            with transaction.atomic(using=stream.using):
                models.create(model=label)
        except IntegrityError:
            pass  # another commit created it in the meantime, and has ended
    if missing:
        list(locked.all())


def _announce(plan: TypePlan, keys: set[str] | None) -> None:
    """Marks the arrival of parents for the streams that wait; one query if none waits."""
    mapping, stream = plan.mapping, plan.stream
    waiting = (
        ParkedChange.objects.using(plan.using).filter(waits_on=mapping.label).exclude(stream=stream)
    )
    if not waiting.exists():
        return
    same_keys = all(
        other.key_field == mapping.key_field for other in registry.for_model(mapping.model)
    )
    found = waiting.order_by().values_list("stream", "waits_for").distinct()
    if keys is None or not same_keys:
        _mark(plan.using, found.iterator())
        return
    for chunk in chunks(parent_digest(mapping, key) for key in keys):
        _mark(plan.using, found.filter(waits_for__in=chunk))


def _look_again(stream: Stream, parent: EntityMapping, keys: set[str] | None) -> None:
    """Marks, for this stream's next commit, the arrival of parents that were committed while this
    commit was under way.
    """
    using = stream.using
    if keys is None:
        waiting = ParkedChange.objects.using(using).filter(waits_on=parent.label, stream=stream)
        _mark(using, waiting.order_by().values_list("stream", "waits_for").distinct().iterator())
        return
    there = shown_parents(stream, parent, keys)
    _mark(using, ((stream.pk, parent_digest(parent, key)) for key in there))


def _mark(using: str | None, pairs: Iterable[tuple[int, str]]) -> None:
    for chunk in chunks(_arrivals(pairs)):
        Arrival.objects.using(using).bulk_create(chunk)


def _arrivals(pairs: Iterable[tuple[int, str]]) -> Iterator[Arrival]:
    return (Arrival(stream_id=stream, digest=digest) for stream, digest in pairs)
