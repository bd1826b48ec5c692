"""Keeps foreign keys right that point to a column which the stream writes (``to_field``): they
follow its changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connections, models

from ..plan import TypePlan
from .row import RowWrite

__all__ = ["followed_by_children", "gains_a_name", "names_given_up", "redirect_children"]

CHUNK = 500
"""Values in one query."""


@contextmanager
def followed_by_children(plan: TypePlan, writes: Sequence[RowWrite]) -> Iterator[None]:
    """Redirects all rows that point to the written ones, whoever owns them, to the new values.

    Notes which row points to which before the writes, so that values may also be exchanged.
    """
    if not plan.followed:
        yield
        return
    pointing = []
    for attname, fields in plan.followed.items():
        if moves := _moves(plan, attname, writes):
            pointing += [(field, moves, _children(plan, field, moves)) for field in fields]
    if not pointing:
        yield
        return

    # MySQL checks row by row, the other databases at the end of the transaction.
    with connections[plan.using].constraint_checks_disabled():
        yield
        for field, moves, children in pointing:
            for old, pks in children.items():
                rows = field.model._base_manager.using(plan.using)
                for start in range(0, len(pks), CHUNK):
                    some = rows.filter(pk__in=pks[start : start + CHUNK])
                    some.update(**{field.attname: moves[old]})


def redirect_children(plan: TypePlan, attname: str, old: Any, new: Any) -> None:
    """Redirects all rows that point to ``old`` to ``new``: another row will get the old value."""
    for field in plan.followed.get(attname, ()):
        rows = field.model._base_manager.using(plan.using)
        rows.filter(**{field.attname: old}).update(**{field.attname: new})


def names_given_up(plan: TypePlan, attname: str, writes: Sequence[RowWrite]) -> dict[Any, str]:
    """The values that rows replace by NULL, so that nothing can point to them any more, each with
    its row's key.
    """
    place = plan.places[attname]
    return {
        write.existing.values[place]: write.key
        for write in writes
        if write.existing is not None
        and write.existing.values[place] is not None
        and write.values[place] is None
    }


def gains_a_name(plan: TypePlan, write: RowWrite) -> bool:
    """Whether others can point to the row by a value that was NULL before."""
    row = write.existing
    return row is not None and any(
        row.values[plan.places[attname]] is None and write.values[plan.places[attname]] is not None
        for attname in plan.followed
    )


def _moves(plan: TypePlan, attname: str, writes: Sequence[RowWrite]) -> dict[Any, Any]:
    """The values that rows give up, each with its replacement."""
    place = plan.places[attname]
    moves = {}
    for write in writes:
        assert write.existing is not None
        old, new = write.existing.values[place], write.values[place]
        if old is not None and old != new:
            moves[old] = new
    return moves


def _children(
    plan: TypePlan, field: models.ForeignKey[Any, Any], moves: dict[Any, Any]
) -> dict[Any, list[Any]]:
    """The primary keys of the rows that point to the moving ones, by the value they point to."""
    found: defaultdict[Any, list[Any]] = defaultdict(list)
    values = list(moves)
    rows = field.model._base_manager.using(plan.using).order_by()
    for start in range(0, len(values), CHUNK):
        some = rows.filter(**{f"{field.attname}__in": values[start : start + CHUNK]})
        for pk, value in some.values_list("pk", field.attname):
            found[value].append(pk)
    return found
