"""Reading and writing the rows of one type, in bulk and by difference.

This is the plain-ORM writer: it works on every database. What the database can do is asked in one place, ``_write_changed``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import DataError, IntegrityError, connections, models, transaction

from .conversion import key_text, same
from .plan import TypePlan

__all__ = ["CHUNK", "ExistingRow", "RowFailure", "RowWrite", "chunks", "read_rows", "write_rows"]

CHUNK = 500
"""Keys in one query: below every database's limit of parameters."""

T = TypeVar("T")


def chunks(things: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """The things in lists of at most ``size``."""
    chunk: list[T] = []
    for thing in things:
        chunk.append(thing)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


@dataclass(slots=True)
class ExistingRow:
    """A shown row: its primary key, and its mapped columns by attname."""

    pk: Any
    values: dict[str, Any]


@dataclass(slots=True)
class RowWrite:
    """A row as it shall be: key, column values by attname, and the row that is there now, if any."""

    key: str
    key_value: Any
    values: dict[str, Any]
    existing: ExistingRow | None


@dataclass(slots=True)
class RowFailure:
    """The database refused one row."""

    write: RowWrite
    error: DataError | IntegrityError

    @property
    def reason(self) -> str:
        """The reason code of its dead letter."""
        return "integrity" if isinstance(self.error, IntegrityError) else "data"


def read_rows(plan: TypePlan, key_values: Iterable[Any]) -> dict[str, ExistingRow]:
    """The shown rows among the keys, by key text; one query per ``CHUNK`` keys."""
    attnames = [planned.attname for planned in plan.fields]
    key = plan.mapping.key
    found: dict[str, ExistingRow] = {}
    for chunk in chunks(key_values):
        rows = plan.rows().filter(**{f"{key.attname}__in": chunk})
        for pk, key_value, *values in rows.values_list("pk", key.attname, *attnames):
            found[key_text(key, key_value)] = ExistingRow(pk, dict(zip(attnames, values, strict=True)))
    return found


def differs(plan: TypePlan, write: RowWrite) -> bool:
    """Whether the row would change."""
    if write.existing is None:
        return True
    old, new = write.existing.values, write.values
    return not all(same(planned.field, old[planned.attname], new[planned.attname]) for planned in plan.fields)


def write_rows(
    plan: TypePlan, writes: Sequence[RowWrite], *, clear_the_way: Callable[[TypePlan, Sequence[RowWrite]], None]
) -> list[RowFailure]:
    """Inserts and updates the rows; those that the database refuses come back, each by itself, and the others are written.

    ``clear_the_way`` is called before each attempt, and undone with it. Any other database error is raised. ``writes`` must not name one key twice.
    """
    if not writes:
        return []
    try:
        with transaction.atomic(using=plan.using):
            clear_the_way(plan, writes)
            _write(plan, writes)
    except (DataError, IntegrityError) as error:
        if len(writes) == 1:
            return [RowFailure(writes[0], error)]
        middle = len(writes) // 2
        halves = writes[:middle], writes[middle:]
        return [failure for half in halves for failure in write_rows(plan, half, clear_the_way=clear_the_way)]
    return []


def _write(plan: TypePlan, writes: Sequence[RowWrite]) -> None:
    new = [_instance(plan, write) for write in writes if write.existing is None]
    changed = [_instance(plan, write) for write in writes if write.existing is not None]
    manager = plan.mapping.model._base_manager.using(plan.using)
    if new:
        manager.bulk_create(new)
    if changed:
        _write_changed(plan, manager, changed)


def _write_changed(plan: TypePlan, manager: models.QuerySet[models.Model], rows: list[models.Model]) -> None:
    names = [planned.name for planned in plan.fields]
    if not names:
        return
    key, meta = plan.mapping.key, plan.mapping.model._meta
    unique_fields = [key.name] if key.unique else [str(plan.mapping.stream_field), key.name]
    # A CHECK is held against the row that the upsert proposes, in which the application's columns have their defaults.
    checked = any(isinstance(constraint, models.CheckConstraint) for constraint in meta.constraints)
    upsert = connections[plan.using].features.supports_update_conflicts_with_target
    if upsert and not plan.unique_sets and not checked:
        manager.bulk_create(rows, update_conflicts=True, unique_fields=unique_fields, update_fields=names)
    else:
        # MySQL's upsert would update a row through any of its unique keys.
        manager.bulk_update(rows, names, batch_size=CHUNK)


def _instance(plan: TypePlan, write: RowWrite) -> models.Model:
    values = {**write.values, plan.mapping.key.attname: write.key_value, **plan.scope}
    if write.existing is not None and not plan.mapping.key.primary_key:
        values["pk"] = write.existing.pk
    return plan.mapping.model(**values)
