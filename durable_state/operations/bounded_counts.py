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
    letters = _StreamRows(using, DeadLetter, "generation = %s", DeadLetter.SHOWN)
    return letters.count_up_to(pks, most)


def parked_up_to(using: str, pks: Sequence[int], most: int) -> dict[int, int]:
    """How many changes of each stream are parked and not shown; ``most + 1`` stands for more."""
    parked = _StreamRows(using, ParkedChange, "reason <> %s", ParkedChange.Reason.LINK)
    return parked.count_up_to(pks, most)


class _StreamRows:
    """The rows of one table that meet a condition with one parameter, counted by stream."""

    def __init__(
        self,
        using: str,
        model: type[DeadLetter | ParkedChange],
        condition: str,
        parameter: int | str,
    ) -> None:
        self._connection = connections[using]
        table = self._connection.ops.quote_name(model._meta.db_table)
        self._from = f"FROM {table} WHERE {condition}"
        self._parameter = parameter

    def count_up_to(self, pks: Sequence[int], most: int) -> dict[int, int]:
        """The counts of the streams that have any; with ``most`` zero, 1 for each of these."""
        if not pks:
            return {}
        present = self._present(pks)
        return self._counts(present, most) if most and present else dict.fromkeys(present, 1)

    def _present(self, pks: Sequence[int]) -> list[int]:
        """The streams that have any of the rows; most have none.

        Steps through an index from one such stream to the next. If asked for each stream, a
        database might read the table as often as there are streams.
        """
        # Nothing in it comes from outside, except for its parameters.
        following = f"SELECT MIN(stream_id) {self._from}"
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
        with self._connection.cursor() as cursor:
            while True:
                cursor.execute(sql, [self._parameter, before, self._parameter, last, STEPS])
                came = [pk for (pk,) in cursor.fetchall()]
                found += came
                if len(came) < STEPS:
                    return sorted(set(found) & set(pks))
                before = max(came)

    def _counts(self, pks: Sequence[int], most: int) -> dict[int, int]:
        """Counts by one statement, each part of which stops after ``most + 1`` rows of an index.

        A grouped count would read every row for each report.
        """
        # Nothing in it comes from outside, except for its parameters.
        rows = f"SELECT 1 AS one {self._from} AND stream_id = %s LIMIT %s"
        part = f"SELECT %s AS stream, COUNT(*) AS count FROM ({rows}) AS limited"  # noqa: S608
        parameters: list[Any] = [each for pk in pks for each in (pk, self._parameter, pk, most + 1)]
        with self._connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join([part] * len(pks)), parameters)
            return {int(pk): count for pk, count in cursor.fetchall() if count}
