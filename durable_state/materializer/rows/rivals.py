"""Who has a unique value, where only the database can tell: by condition, expression or collation.

Why: decision 27.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db import DatabaseError, models, transaction
from django.db.models import F, Q
from django.db.models.lookups import Exact

from durable_state.conversion import key_text

from ..plan import TypePlan
from .instances import read_instances
from .row import RowWrite

__all__ = ["Rival", "find_rivals"]


class Rival(NamedTuple):
    """A row that has what a write wants: its ``key`` (None: it is not this stream's), its primary
    key, and the mapped columns that the constraint looks at.
    """

    key: str | None
    pk: Any
    columns: tuple[str, ...]


def find_rivals(plan: TypePlan, write: RowWrite) -> list[Rival]:
    """The rows that keep the database from taking the write, as far as Django knows the
    constraints.

    Writes nothing.
    """
    model = plan.mapping.model
    instance = _instance(plan, write)
    rivals: dict[Any, Rival] = {}
    for names, rows in _conflicting(plan, model, instance):
        columns = tuple(planned.attname for planned in plan.fields if planned.name in names)
        if write.existing is not None:
            rows = rows.exclude(pk=write.existing.pk)
        try:
            with transaction.atomic(using=plan.using):
                found = list(rows.values_list("pk", plan.mapping.key.attname, *plan.scope)[:10])
        except (DatabaseError, TypeError, ValueError):
            continue  # an expression that the instance's values do not fit
        for pk, key_value, *scope in found:
            ours = scope == list(plan.scope.values())
            key = key_text(plan.mapping.key, key_value) if ours else None
            rivals[pk] = Rival(key, pk, columns)
    return list(rivals.values())


def _instance(plan: TypePlan, write: RowWrite) -> models.Model:
    """The row as it would be, with the columns of the application's own that it has."""
    model = plan.mapping.model
    row: models.Model | None = None
    if write.existing is not None:
        rows = model._base_manager.using(plan.using).filter(pk=write.existing.pk)
        row = next(iter(read_instances(rows)), None)
    row = model() if row is None else row
    mapped = dict(zip(plan.places, write.values, strict=True))
    row.__dict__.update({**mapped, plan.mapping.key.attname: write.key_value, **plan.scope})
    return row


def _conflicting(
    plan: TypePlan, model: type[models.Model], instance: models.Model
) -> Iterator[tuple[set[str], models.QuerySet[models.Model]]]:
    """For each constraint the names of its fields, and the rows that have the instance's value."""
    everybody = model._base_manager.using(plan.using).order_by()
    sets: list[tuple[str, ...]] = [
        (field.name,) for field in model._meta.concrete_fields if field.unique
    ]
    sets += [tuple(names) for names in model._meta.unique_together]
    for names in sets:
        values = {name: getattr(instance, plan.mapping.field(name).attname) for name in names}
        if None not in values.values():
            yield set(names), everybody.filter(**values)

    for constraint in model._meta.constraints:
        if isinstance(constraint, models.UniqueConstraint):
            yield from _of_constraint(plan, constraint, everybody, instance)


def _of_constraint(
    plan: TypePlan,
    constraint: models.UniqueConstraint,
    everybody: models.QuerySet[models.Model],
    instance: models.Model,
) -> Iterator[tuple[set[str], models.QuerySet[models.Model]]]:
    # As Django's own validation of constraints does it.
    row: Any = instance
    values: dict[str, Any] = row._get_field_expression_map(meta=row._meta)
    rows = everybody
    if constraint.condition is not None:
        try:
            if not constraint.condition.check(values, using=plan.using):
                return
        except (DatabaseError, TypeError, ValueError):
            return
        rows = rows.filter(constraint.condition)

    replaced: dict[Any, Any] = {F(name): value for name, value in values.items()}
    expressions: Any = constraint.expressions or tuple(F(name) for name in constraint.fields)
    names: set[str] = set(constraint.fields)
    for expression in expressions:
        if hasattr(expression, "get_expression_for_validation"):
            expression = expression.get_expression_for_validation()
        names |= {str(ref[0]) for ref in row._get_expr_references(expression)}
        wanted = replaced[expression] if isinstance(expression, F) else None
        if wanted is None:
            wanted = expression.replace_expressions(replaced)
        rows = rows.filter(Q(Exact(expression, wanted)))
    yield names, rows
