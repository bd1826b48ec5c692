"""Tells whether a row already is what a change would make it.

For most columns Python can tell, because conversion makes exactly what is read. What a field's own
code or the database makes of a value, only the database can tell; it is asked about values that
look different.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import DatabaseError, models, transaction
from django.db.models import Value
from django.db.models.functions import Cast
from django.db.models.sql import Query

from durable_state.conversion import same, target_column
from durable_state.databases import find_database

from ..batch.defaults import overlay
from ..plan import PlannedField, TypePlan, Values
from .row import RowWrite

__all__ = ["changing", "differ"]

VALUES_PER_QUERY = 50
"""Values that one query asks about."""

Pair = tuple[Values, Values]
"""What a row holds, and what it is to hold."""


class _Likeness(enum.Enum):
    EQUAL = enum.auto()
    DIFFERENT = enum.auto()
    DOUBTFUL = enum.auto()


def changing(plan: TypePlan, writes: Iterable[RowWrite]) -> list[RowWrite]:
    """The writes that would change their row, or insert it."""
    writes = list(writes)
    if plan.told_by_python:
        return [
            write
            for write in writes
            if write.existing is None or write.existing.values != write.values
        ]
    updates = [write for write in writes if write.existing is not None]
    pairs = [(write.existing.values, write.values) for write in updates if write.existing]
    told = _differing(plan, pairs)
    equal = {write.key for write, differs in zip(updates, told, strict=True) if not differs}
    return [write for write in writes if write.key not in equal]


def differ(plan: TypePlan, stored: Values, wanted: Values) -> bool:
    """Whether a row with the stored values would be changed by the wanted ones."""
    wanted = overlay(stored, wanted)
    if plan.told_by_python:
        return stored != wanted
    return _differing(plan, [(stored, wanted)])[0]


def _differing(plan: TypePlan, pairs: Sequence[Pair]) -> list[bool]:
    """Whether each pair differs."""
    likenesses = [_compare(plan, *pair) for pair in pairs]
    told = [likeness is not _Likeness.EQUAL for likeness in likenesses]
    doubtful = [
        place for place, likeness in enumerate(likenesses) if likeness is _Likeness.DOUBTFUL
    ]
    for place in doubtful:
        told[place] = False
    for planned in plan.fields:
        asked = [place for place in doubtful if not _are_same(planned, pairs[place])]
        wanted = [pairs[place][1][planned.place] for place in asked]
        for place, read in zip(asked, _as_read(plan, planned, wanted), strict=True):
            stored = pairs[place][0][planned.place]
            told[place] = told[place] or not same(planned.field, stored, read)
    return told


def _compare(plan: TypePlan, stored: Values, wanted: Values) -> _Likeness:
    likeness = _Likeness.EQUAL
    for planned in plan.fields:
        if _are_same(planned, (stored, wanted)):
            continue
        if not planned.told_by_database:
            return _Likeness.DIFFERENT
        likeness = _Likeness.DOUBTFUL
    return likeness


def _are_same(planned: PlannedField, pair: Pair) -> bool:
    stored, wanted = pair
    return same(planned.field, stored[planned.place], wanted[planned.place])


def _as_read(plan: TypePlan, planned: PlannedField, values: Sequence[Any]) -> list[Any]:
    """What the column gives back for each of the values; the value itself where the database
    cannot tell.
    """
    found: list[Any] = []
    for start in range(0, len(values), VALUES_PER_QUERY):
        chunk = values[start : start + VALUES_PER_QUERY]
        try:
            with transaction.atomic(using=plan.using):
                found += _ask(plan.using, target_column(planned.field), chunk)
        except DatabaseError:
            found += chunk  # writing it will tell why
    return found


def _ask(using: str, column: models.Field[Any, Any], values: Sequence[Any]) -> Sequence[Any]:
    query, types_parameters = Query(None), find_database(using).types_parameters
    for number, value in enumerate(values):
        written: Any = _Written(value, output_field=column)
        if not types_parameters:
            written = Cast(written, output_field=column)
        query.add_annotation(written, f"value_{number}")
    rows = list(query.get_compiler(using=using).results_iter())
    return rows[0]  # type: ignore[no-any-return]


class _Written(Value):
    """A value as it is written into a column."""

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Its parameter, in what the field has the database make of it."""
        column: Any = self.output_field
        prepared = column.get_db_prep_save(self.value, connection)
        if hasattr(prepared, "as_sql"):
            return compiler.compile(prepared)
        if prepared is None:
            return "NULL", ()
        if hasattr(column, "get_placeholder"):
            return column.get_placeholder(prepared, compiler, connection), (prepared,)
        return "%s", (prepared,)
