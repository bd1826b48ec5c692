"""Counting no further than anybody reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.models import Exists, OuterRef, QuerySet

from durable_state.models import DeadLetter, ParkedChange, Stream

__all__ = ["letters_up_to", "parked_up_to"]


def letters_up_to(using: str, pks: Sequence[int], most: int) -> dict[int, int]:
    """How many dead letters each stream has; ``most + 1`` stands for more."""
    if most == 0:
        return _presence(DeadLetter.objects.using(using).filter(generation=DeadLetter.SHOWN), pks)
    return _counts(using, DeadLetter, "generation = %s", DeadLetter.SHOWN, pks, most)


def parked_up_to(using: str, pks: Sequence[int], most: int) -> dict[int, int]:
    """How many changes of each stream are parked and not shown; ``most + 1`` stands for more."""
    if most == 0:
        waiting = ParkedChange.objects.using(using).exclude(reason=ParkedChange.Reason.LINK)
        return _presence(waiting, pks)
    return _counts(using, ParkedChange, "reason <> %s", ParkedChange.Reason.LINK, pks, most)


def _presence(rows: QuerySet[Any], pks: Sequence[int]) -> dict[int, int]:
    """1 for each stream that has any of the rows; one look into an index for each."""
    any_row = Exists(rows.filter(stream=OuterRef("pk")).order_by())
    streams = Stream.objects.using(rows.db).filter(pk__in=pks).order_by()
    found = streams.annotate(has_any=any_row).values_list("pk", "has_any")
    return {pk: 1 for pk, has_any in found if has_any}


def _counts(
    using: str,
    model: type[DeadLetter | ParkedChange],
    condition: str,
    value: object,
    pks: Sequence[int],
    most: int,
) -> dict[int, int]:
    """One statement, whose parts each stop at ``most + 1`` rows of an index.

    A grouped count would read every row, each time that somebody looks.
    """
    if not pks:
        return {}
    table = connections[using].ops.quote_name(model._meta.db_table)
    # Nothing of it is given from outside but its parameters.
    rows = f"SELECT 1 AS one FROM {table} WHERE stream_id = %s AND {condition} LIMIT %s"  # noqa: S608
    part = f"SELECT %s AS stream, COUNT(*) AS count FROM ({rows}) AS limited"  # noqa: S608
    parameters: list[Any] = [each for pk in pks for each in (pk, pk, value, most + 1)]
    with connections[using].cursor() as cursor:
        cursor.execute(" UNION ALL ".join([part] * len(pks)), parameters)
        return {int(pk): count for pk, count in cursor.fetchall() if count}
