"""Decides who may have a unique value.

A row that shows its entity's newest change keeps its value; otherwise the older change wins, and
the others are parked. A row that keeps its value only until the commit gets to it (because it is
about to be deleted or written, or is stale) makes way.

Why: decision 14.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from django.db import IntegrityError, connections, models, transaction
from django.db.models import Q

from durable_state.conversion import JsonNull, key_text
from durable_state.databases.faults import NoWay

from ..plan import PlannedField, TypePlan, Values
from .followers import redirect_children
from .instances import read_instances
from .kept import insert_raw
from .placeholders import placeholders
from .row import RowWrite
from .rows import CHUNK, chunks

__all__ = [
    "NOT_OURS",
    "Claim",
    "Claims",
    "Lost",
    "free_wanted_values",
    "frees_a_unique_value",
    "vacate",
]

Claim = tuple[tuple[str, ...], tuple[Any, ...]]
"""Columns that must be unique together, and the values."""

Lost = tuple[str, str | None]
"""A sentence about who has the value, and the holder's key; None if it is not this stream's row."""

NOT_OURS = "\0"
"""Begins the name of a holder that is no row of this stream; no key has it."""


class Claims:
    """The unique values that writes of one type want, in the order of their changes."""

    def __init__(self, plan: TypePlan, writes: Sequence[RowWrite]) -> None:
        self._wanted = [(write, _claims_of(plan, write, write.values)) for write in writes]
        self._held = {
            write.key: _claims_of(plan, write, write.existing.values)
            for write in writes
            if write.existing is not None
        }
        self.elsewhere: dict[Claim, str] = {}
        """The keys of other rows that hold them now."""
        if writes:
            moving = {write.key for write in writes}
            holders = _holders(plan, self._wanted)
            self.elsewhere = {claim: key for claim, key in holders.items() if key not in moving}

    def rivals(self) -> set[str]:
        """The keys of this stream's other rows that hold wanted values."""
        return {key for key in self.elsewhere.values() if not key.startswith(NOT_OURS)}

    def losers(self, weak: Collection[str], firm: Collection[str]) -> dict[str, Lost]:
        """The writes that cannot have their unique values, by key.

        Rows of ``weak`` keys make way. Rows of ``firm`` keys stay as they are if their change
        loses. A write that loses one of its values claims none of the others.
        """
        standing = {claim: key for claim, key in self.elsewhere.items() if key not in weak}
        while True:
            losers = self._compete(dict(standing))
            staying = [key for key in losers if key in firm]
            kept = {claim: key for key in staying for claim in self._held.get(key, ())}
            if kept.items() <= standing.items():
                return losers
            standing |= kept

    def _compete(self, holders: dict[Claim, str]) -> dict[str, Lost]:
        for write, wanted in self._wanted:
            held = self._held.get(write.key, ())
            for claim in wanted:
                if claim in held:
                    holders.setdefault(claim, write.key)

        losers: dict[str, Lost] = {}
        for write, wanted in self._wanted:
            lost = next((c for c in wanted if holders.get(c, write.key) != write.key), None)
            if lost is None:
                holders |= dict.fromkeys(wanted, write.key)
            else:
                losers[write.key] = _sentence(lost, holders[lost])
        return losers

    def in_the_way(self, losers: Collection[str], stale: Collection[str]) -> set[str]:
        """The keys of losers, and of ``stale`` rows elsewhere, that hold what a winner wants."""
        wanted: set[Claim] = set()
        for write, some in self._wanted:
            if write.key not in losers:
                wanted.update(some)

        blocking = {key for key in losers if not wanted.isdisjoint(self._held.get(key, ()))}
        return blocking | {
            key for claim, key in self.elsewhere.items() if key in stale and claim in wanted
        }

    def robbed_by(self, written: Collection[str]) -> set[str]:
        """The keys of other rows that have lost values to these writes."""
        robbed: set[str] = set()
        for write, some in self._wanted:
            if write.key in written:
                robbed.update(self.elsewhere[claim] for claim in some if claim in self.elsewhere)
        return robbed


def _sentence(claim: Claim, holder: str) -> Lost:
    ours = None if holder.startswith(NOT_OURS) else holder
    by = "a row that is not this stream's" if ours is None else repr(ours)
    return f"{', '.join(claim[0])} {claim[1]!r} is taken by {by}", ours


def frees_a_unique_value(plan: TypePlan, write: RowWrite) -> bool:
    """Whether a shown row gives up a unique value."""
    row = write.existing
    if row is None:
        return False
    columns = {column for columns in plan.unique_sets for column in columns}
    places = (plan.places[column] for column in columns & plan.places.keys())
    return any(row.values[place] != write.values[place] for place in places)


def free_wanted_values(
    plan: TypePlan, writes: Sequence[RowWrite], elsewhere: Mapping[Claim, str]
) -> None:
    """Takes the unique values that the writes want from the rows that are to give them up.

    So no statement meets a value twice. ``elsewhere`` maps values to the keys of rows that hold
    them and are not written here. Raises: NoWay.
    """
    if not plan.unique_sets:
        return
    wanted = {
        claim: write.key for write in writes for claim in _claims_of(plan, write, write.values)
    }
    for columns in plan.unique_sets:
        movers = {
            write.existing.pk: write
            for write in writes
            if write.existing is not None
            and any(
                claim[0] == columns and wanted.get(claim, write.key) != write.key
                for claim in _claims_of(plan, write, write.existing.values)
            )
        }
        if movers and not vacate(plan, columns, movers):
            _set_aside(plan, movers)

        others = {
            key for claim, key in elsewhere.items() if claim[0] == columns and claim in wanted
        }
        if others and not vacate(plan, columns, _primary_keys(plan, others), leading=True):
            raise NoWay(f"{', '.join(columns)} of {min(others)!r} is not free yet.")


def _primary_keys(plan: TypePlan, keys: Iterable[str]) -> set[Any]:
    found: set[Any] = set()
    for chunk in chunks(plan.key_value(key) for key in keys):
        rows = plan.rows().filter(**{f"{plan.mapping.key.attname}__in": chunk})
        found.update(rows.values_list("pk", flat=True))
    return found


def vacate(
    plan: TypePlan, columns: Iterable[str], pks: Collection[Any], *, leading: bool = False
) -> bool:
    """Frees the values that the rows hold in the columns, until they are written again or deleted.

    A nullable column is set to NULL; otherwise one column gets values that no row has. Returns
    False, with nothing changed, where the table accepts neither. With ``leading``, rows that point
    to these by such a column are redirected, because the value gets its new holder before these
    rows are written.
    """
    connection, rows = connections[plan.using], plan.rows()
    mapped = [planned for planned in plan.fields if planned.attname in columns]
    followed = plan.followed if leading else {}
    nullable = next(
        (each for each in mapped if each.field.null and each.attname not in followed), None
    )
    stand_in = _find_stand_ins(plan, mapped, len(pks)) if nullable is None else None
    if nullable is None and stand_in is None:
        return False

    # MySQL does not let a row give up a value by which others point to it; they follow later.
    unchecked = connection.constraint_checks_disabled if plan.followed else nullcontext
    try:
        with unchecked(), transaction.atomic(using=plan.using):
            if nullable is not None:
                for chunk in chunks(pks):
                    rows.filter(pk__in=chunk).update(**{nullable.attname: None})
            elif stand_in is not None:
                planned, values = stand_in
                for pk, value in zip(pks, values, strict=True):
                    held = rows.filter(pk=pk).values_list(planned.attname, flat=True)
                    old = list(held) if planned.attname in followed else []
                    rows.filter(pk=pk).update(**{planned.attname: value})
                    for each in old:
                        redirect_children(plan, planned.attname, each, value)
    except IntegrityError:
        return False  # a CHECK
    return True


def _find_stand_ins(
    plan: TypePlan, mapped: Iterable[PlannedField], count: int
) -> tuple[PlannedField, list[Any]] | None:
    for planned in mapped:
        values = placeholders(planned.field, connections[plan.using], count)
        if values is not None:
            return planned, values
    return None


def _set_aside(plan: TypePlan, movers: dict[Any, RowWrite]) -> None:
    """Deletes rows, and inserts them again with their new values.

    No statement can exchange values that must not be NULL and have no placeholder.
    """
    instances: list[models.Model] = []
    # MySQL checks foreign keys at once; the rows come back under their primary keys.
    with connections[plan.using].constraint_checks_disabled():
        for chunk in chunks(movers):
            rows = plan.rows().filter(pk__in=chunk)
            instances += read_instances(rows)
            rows._raw_delete(plan.using)
        for instance in instances:
            values = zip(plan.places, movers[instance.pk].values, strict=True)
            instance.__dict__.update(values)
        insert_raw(plan, instances)


def _claims_of(plan: TypePlan, write: RowWrite, held_values: Values) -> list[Claim]:
    mapped = dict(zip(plan.places, held_values, strict=True))
    values = {**mapped, plan.mapping.key.attname: write.key_value, **plan.scope}
    claims = []
    for columns in plan.unique_sets:
        held = tuple(values.get(column) for column in columns)
        if None not in map(_or_none, held):
            claims.append((columns, held))
    return claims


def _or_none(value: Any) -> Any:
    """The value; None for one that cannot be hashed, such as a document, which only the database
    can compare.
    """
    try:
        hash(value)
    except TypeError:
        return None
    return None if isinstance(value, JsonNull) else value


def _holders(plan: TypePlan, claims: Sequence[tuple[RowWrite, list[Claim]]]) -> dict[Claim, str]:
    """The keys of rows that hold the wanted values now; a row that is not this stream's has a name
    that is no key.
    """
    key = plan.mapping.key
    holders: dict[Claim, str] = {}
    own = set(plan.scope.items())
    for columns in plan.unique_sets:
        every = (claim for _, some in claims for claim in some)
        wanted = {values for names, values in every if names == columns}
        for chunk in chunks(wanted, 100 if len(columns) > 1 else CHUNK):
            rows = plan.mapping.model._base_manager.using(plan.using)
            rows = rows.filter(_any_of(columns, chunk)).order_by()
            for key_value, *values in rows.values_list(key.attname, *columns, *plan.scope):
                held = tuple(values[: len(columns)])
                scope = set(zip(plan.scope, values[len(columns) :], strict=True))
                text = key_text(key, key_value) if scope == own else f"{NOT_OURS}{key_value}"
                holders[columns, held] = text
    return holders


def _any_of(columns: tuple[str, ...], held: list[tuple[Any, ...]]) -> Q:
    if len(columns) == 1:
        return Q(**{f"{columns[0]}__in": [values[0] for values in held]})
    condition = Q()
    for values in held:
        condition |= Q(**dict(zip(columns, values, strict=True)))
    return condition
