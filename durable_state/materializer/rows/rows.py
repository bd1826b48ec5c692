"""Reads and writes the rows of one type, in bulk and by difference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

import django.db
from django.db import models, transaction
from django.db.models import Q

from durable_state.conf import get_settings
from durable_state.conversion import JSON_NULL, key_text
from durable_state.databases import Statement, find_database
from durable_state.databases.faults import blames_a_row, explain, is_uniqueness, reason_code
from durable_state.errors import TooManyDeadLetters

from ..batch.defaults import has_fresh, overlay, settle
from ..batch.preparation import Prepared
from ..plan import PlannedField, TypePlan, Values
from .comparison import changing, differ
from .followers import followed_by_children
from .kept import insert_kept
from .row import ExistingRow, RowWrite
from .writing import insert_rows, update_rows

__all__ = [
    "CHUNK",
    "READ",
    "RowFailure",
    "changing",
    "chunks",
    "deferred_checks",
    "differ",
    "existing_row",
    "in_statements",
    "most_keys",
    "read_rows",
    "row_write",
    "rows_with",
    "write_rows",
]

CHUNK = 500
"""Keys in one query: below every database's limit of parameters."""

READ = 2000
"""Keys in one query for rows, where each is a parameter and the database takes as many."""

STATEMENT_BYTES = 1024 * 1024
"""Bytes of large values in one statement, unless a single row has more."""

T = TypeVar("T")


def chunks(things: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """The things in lists of at most ``size``."""
    left = iter(things)
    while chunk := list(islice(left, size)):
        yield chunk


def in_statements(rows: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """The rows in lists that one statement may insert:
    at most ``CHUNK``, and about ``STATEMENT_BYTES``.
    """
    some: list[T] = []
    held = 0
    for row in rows:
        if some and (len(some) == CHUNK or held + size(row) > STATEMENT_BYTES):
            yield some
            some, held = [], 0
        some.append(row)
        held += size(row)
    if some:
        yield some


class UnreadableColumn(ValueError):
    """A merge cannot keep a value that it cannot read."""


@dataclass(slots=True)
class RowFailure:
    """The database, its driver or the code of a field refused one row."""

    write: RowWrite
    error: Exception

    @property
    def reason(self) -> str:
        """The reason code of its dead letter."""
        return reason_code(self.error)

    @property
    def detail(self) -> str:
        """What its dead letter says."""
        return explain(self.error)

    @property
    def is_rivalry(self) -> bool:
        """Whether it was refused because another row has its unique value."""
        return is_uniqueness(self.error)


def read_rows(plan: TypePlan, key_values: Sequence[Any]) -> dict[str, ExistingRow]:
    """The shown rows with these keys, by key text; each query asks for as many as it can."""
    if len(key_values) > READ and not plan.rows().exists():
        return {}
    key = plan.mapping.key
    is_null = [Q(**{f"{each.attname}__isnull": True}) for each in plan.documents]
    names: list[Any] = ["pk", key.attname, *plan.places, *is_null]
    found: dict[str, ExistingRow] = {}
    for chunk in chunks(key_values, most_keys(plan, key)):
        for row in _read_values(plan, chunk, names):
            found[key_text(key, row[1])] = existing_row(plan, row)
    return found


def existing_row(plan: TypePlan, row: tuple[Any, ...]) -> ExistingRow:
    """Makes a row of what was read: primary key, key, mapped columns, and whether each document is
    NULL.
    """
    end = 2 + len(plan.fields)
    values = row[2:end]
    if plan.documents and None in (values[planned.place] for planned in plan.documents):
        values = _with_json_nulls(values, zip(plan.documents, row[end:], strict=True))
    if plan.moments_elsewhere:
        values = _in_utc(values, plan.moments_elsewhere)
    return ExistingRow(row[0], values)


class _Unreadable:
    """Stands for a value that the field's own code cannot read; equal to nothing else."""

    def __repr__(self) -> str:
        return "UNREADABLE"


UNREADABLE = _Unreadable()


def _read_values(
    plan: TypePlan, key_values: Sequence[Any], names: Sequence[Any]
) -> list[tuple[Any, ...]]:
    """These columns of the rows; a value that its field cannot read is ``UNREADABLE``.

    A row with such a value can still be replaced and deleted.
    """
    rows = rows_with(plan, key_values)
    try:
        return list(rows.values_list(*names))
    except django.db.Error:
        raise
    except Exception:  # of a field's from_db_value
        if len(key_values) > 1:
            middle = len(key_values) // 2
            halves = key_values[:middle], key_values[middle:]
            return [row for half in halves for row in _read_values(plan, half, names)]
    found = [_read_one_value(rows, name) for name in names]
    return list(zip(*found, strict=True)) if all(found) else []


def _read_one_value(rows: models.QuerySet[models.Model], name: Any) -> list[Any]:
    """One column of the one row, if it is there."""
    try:
        return list(rows.values_list(name, flat=True))
    except django.db.Error:
        raise
    except Exception:
        return [UNREADABLE]


def _in_utc(values: Values, moments: Iterable[PlannedField]) -> Values:
    """The values with moments in UTC: Python considers no moment in an hour that occurs twice equal
    to one in another zone.
    """
    told_apart = list(values)
    for planned in moments:
        moment = told_apart[planned.place]
        if isinstance(moment, datetime):
            told_apart[planned.place] = moment.astimezone(UTC)
    return tuple(told_apart)


def _with_json_nulls(values: Values, are_null: Iterable[tuple[PlannedField, bool]]) -> Values:
    """The values with JSON's null told from NULL, which Django reads alike."""
    told_apart = list(values)
    for planned, is_null in are_null:
        if values[planned.place] is None:
            told_apart[planned.place] = None if is_null else JSON_NULL
    return tuple(told_apart)


def most_keys(plan: TypePlan, field: models.Field[Any, Any]) -> int:
    """How many values of the field one query for the stream's rows may name."""
    return find_database(plan.using).most_keys(field, len(plan.scope))


def rows_with(plan: TypePlan, key_values: Sequence[Any]) -> models.QuerySet[models.Model]:
    """The shown rows with these keys, which must be at most ``most_keys``."""
    database = find_database(plan.using)
    return database.rows_with(plan.rows(), plan.mapping.key, key_values, plan.scope)


def row_write(
    put: Prepared,
    values: Values,
    existing: ExistingRow | None,
    kept: bytes | None = None,
) -> RowWrite:
    """The write that applies the put to the row that is there, or to what was kept of it.

    ``values`` are the put's, with parents as their columns hold them.
    """
    if existing is None:
        values = settle(values)
    elif not put.complete or has_fresh(values):
        values = overlay(existing.values, values)
    return RowWrite(put.key, put.key_value, values, existing, kept if existing is None else None)


def write_rows(
    plan: TypePlan,
    writes: Sequence[RowWrite],
    *,
    free_values: Callable[[TypePlan, Sequence[RowWrite]], None],
) -> list[RowFailure]:
    """Inserts and updates the rows, and returns those that the database refuses.

    ``free_values`` frees unique values that the rows want; it is called before each attempt, and
    undone with it. No two writes may have the same key. Errors that no row is to blame for are
    raised.
    Raises: TooManyDeadLetters, as soon as so many rows are refused that the commit would halt the
    stream.
    """
    failures: list[RowFailure] = []
    _bisect(plan, writes, free_values, failures)
    return failures


def _bisect(
    plan: TypePlan,
    writes: Sequence[RowWrite],
    free_values: Callable[[TypePlan, Sequence[RowWrite]], None],
    failures: list[RowFailure],
) -> None:
    """Writes the rows, or each half by itself; adds those that are refused."""
    if not writes:
        return
    try:
        with transaction.atomic(using=plan.using):
            free_values(plan, writes)
            _write(plan, writes)
            if checks := deferred_checks(plan):
                find_database(plan.using).run_together(checks)
    except Exception as error:  # whatever a field's own code raises, too
        if not blames_a_row(error):
            raise
        if len(writes) == 1:
            error.__traceback__ = None  # whose frames would hold the whole batch
            failures.append(RowFailure(writes[0], error))
            _check_flood(plan, failures)
            return
        middle = len(writes) // 2
        for half in (writes[:middle], writes[middle:]):
            _bisect(plan, half, free_values, failures)


def _check_flood(plan: TypePlan, failures: Sequence[RowFailure]) -> None:
    """Raises: TooManyDeadLetters, if too many rows are refused and no other change can make up for
    any of them.
    """
    limit = get_settings().dead_letter_limit
    if (
        len(failures) > limit
        and not plan.mapping.merges
        and not plan.unique_sets
        and not plan.relations
    ):
        last, stream = failures[-1], plan.stream
        raise TooManyDeadLetters.after(
            stream.name,
            stream.ordinal,
            len(failures),
            limit,
            last.reason,
            last.detail,
            plan.type,
        )


def _write(plan: TypePlan, writes: Sequence[RowWrite]) -> None:
    if plan.mapping.merges:
        _check_readable(plan, writes)
    if changed := [write for write in writes if write.existing is not None]:
        with followed_by_children(plan, changed):
            update_rows(plan, changed)
    if new := [write for write in writes if write.existing is None and write.kept is None]:
        insert_rows(plan, new)
    if kept := [write for write in writes if write.kept is not None]:
        insert_kept(plan, kept)


def deferred_checks(plan: TypePlan) -> list[Statement]:
    """Statements that check the deferred constraints of the type's table now, not at COMMIT.

    Foreign keys to parents are left out: the parents were looked up, and one that is set aside for
    a moment is not missing.
    """
    parents = [planned.field.column for planned in plan.relations if planned.field.column]
    table = plan.mapping.model._meta.db_table
    return find_database(plan.using).checking_deferred(table, parents)


def _check_readable(plan: TypePlan, writes: Sequence[RowWrite]) -> None:
    """Raises: UnreadableColumn, where an update keeps what is in a column that cannot be read."""
    for write in writes:
        for planned in plan.fields:
            if write.values[planned.place] is UNREADABLE:
                raise UnreadableColumn(
                    f"the update leaves out {planned.name}, whose field cannot read what the row"
                    " holds"
                )
