"""Counts letters and parked changes no further than anybody needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections

from durable_state.models import DeadLetter, ParkedChange

__all__ = ["COUNTED", "letters_up_to", "parked_up_to"]

COUNTED = 100_000
"""The most letters, or parked changes, that are counted of one stream; one more stands for more.

Far beyond ``DEAD_LETTER_LIMIT``, it keeps reports cheap even where that was raised.
"""

STEPS = 500
"""Streams in one recursive query. MySQL gives up after a thousand; MariaDB silently leaves out the
rest.
"""


def letters_up_to(using: str, pks: Sequence[int], most: int) -> dict[int, int]:
    """How many dead letters each stream has; ``most + 1`` stands for more."""
    return _counts_up_to(using, DeadLetter, "generation = %s", DeadLetter.SHOWN, pks, most)


def parked_up_to(using: str, pks: Sequence[int], most: int) -> dict[int, int]:
    """How many changes of each stream are parked and not shown; ``most + 1`` stands for more."""
    link = ParkedChange.Reason.LINK
    return _counts_up_to(using, ParkedChange, "reason <> %s", link, pks, most)


def _counts_up_to(
    using: str,
    model: type[DeadLetter | ParkedChange],
    condition: str,
    value: int | str,
    pks: Sequence[int],
    most: int,
) -> dict[int, int]:
    """Counts the rows of the streams that have any; most have none."""
    present = _presence(using, model, condition, value, pks)
    return _counts(using, model, condition, value, sorted(present), most) if most else present


def _presence(
    using: str,
    model: type[DeadLetter | ParkedChange],
    condition: str,
    value: int | str,
    pks: Sequence[int],
) -> dict[int, int]:
    """1 for each of the streams that has any of the rows.

    Steps through an index from one such stream to the next. If asked for each stream, a database
    might read the table as often as there are streams.
    """
    if not pks:
        return {}
    table = connections[using].ops.quote_name(model._meta.db_table)
    # Nothing in it comes from outside, except for its parameters.
    following = f"SELECT MIN(stream_id) FROM {table} WHERE {condition}"  # noqa: S608
    sql = f"""
        WITH RECURSIVE found (pk, step) AS (
            SELECT ({following} AND stream_id > %s), 1
            UNION ALL
            SELECT ({following} AND stream_id > found.pk), step + 1
            FROM found WHERE found.pk < %s AND step < %s
        )
        SELECT pk FROM found WHERE pk IS NOT NULL
    """  # noqa: S608
    found: list[int] = []
    before, last = min(pks) - 1, max(pks)
    with connections[using].cursor() as cursor:
        while True:
            cursor.execute(sql, [value, before, value, last, STEPS])
            came = [pk for (pk,) in cursor.fetchall()]
            found += came
            if len(came) < STEPS:
                return dict.fromkeys(set(found) & set(pks), 1)
            before = max(came)


def _counts(
    using: str,
    model: type[DeadLetter | ParkedChange],
    condition: str,
    value: int | str,
    pks: Sequence[int],
    most: int,
) -> dict[int, int]:
    """Counts by one statement, each part of which stops after ``most + 1`` rows of an index.

    A grouped count would read every row for each report.
    """
    if not pks:
        return {}
    table = connections[using].ops.quote_name(model._meta.db_table)
    # Nothing in it comes from outside, except for its parameters.
    rows = f"SELECT 1 AS one FROM {table} WHERE stream_id = %s AND {condition} LIMIT %s"  # noqa: S608
    part = f"SELECT %s AS stream, COUNT(*) AS count FROM ({rows}) AS limited"  # noqa: S608
    parameters: list[Any] = [each for pk in pks for each in (pk, pk, value, most + 1)]
    with connections[using].cursor() as cursor:
        cursor.execute(" UNION ALL ".join([part] * len(pks)), parameters)
        return {int(pk): count for pk, count in cursor.fetchall() if count}
