"""Finds the row that has a unique value where only the database can tell: by a condition, an
expression, a collation or an exclusion constraint.

Why: decision 27.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.db import DatabaseError, models, transaction
from django.db.models import F, Q
from django.db.models.lookups import Exact, IsNull, PostgresOperatorLookup

from durable_state.conversion import key_text

from ..plan import TypePlan
from .instances import read_instances
from .row import RowWrite

__all__ = ["Rival", "find_rivals"]


class Rival(NamedTuple):
    """A row that holds what a write wants.

    ``key`` is None where it is not this stream's row; ``columns`` are the mapped ones that the
    constraint looks at.
    """

    key: str | None
    pk: Any
    columns: tuple[str, ...]


def find_rivals(plan: TypePlan, write: RowWrite) -> list[Rival]:
    """The rows because of which the database refuses the write, as far as Django knows the
    constraints. Writes nothing.
    """
    instance = _instance(plan, write)
    rivals: dict[Any, Rival] = {}
    for names, rows in _conflicting(plan, instance):
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
    """The row as it would be, with the application's own columns as they are."""
    model = plan.mapping.model
    row: models.Model | None = None
    if write.existing is not None:
        rows = model._base_manager.using(plan.using).filter(pk=write.existing.pk)
        row = next(iter(read_instances(rows)), None)
    row = model() if row is None else row
    mapped = dict(zip(plan.places, write.values, strict=True))
    row.__dict__.update({**mapped, plan.mapping.key.attname: write.key_value, **plan.scope})
    return row


class _Demand(NamedTuple):
    """What no two rows of a model may have alike: the same values of all these expressions.

    An expression with an operator is compared by that, as PostgreSQL's exclusion constraints do.
    """

    compared: Sequence[tuple[Any, str | None]]
    condition: Any = None
    nulls_are_alike: bool = False


def _demands(model: type[models.Model]) -> Iterator[_Demand]:
    """What the model declares to be unique, in whatever way."""
    for field in model._meta.concrete_fields:
        if field.unique:
            yield _Demand([(F(field.name), None)])
    for names in model._meta.unique_together:
        yield _Demand([(F(name), None) for name in names])

    for constraint in model._meta.constraints:
        declared: Any = constraint
        if isinstance(constraint, models.UniqueConstraint):
            expressions = declared.expressions or tuple(map(F, declared.fields))
            yield _Demand(
                [(expression, None) for expression in expressions],
                declared.condition,
                declared.nulls_distinct is False,
            )
        elif _is_exclusion(constraint):
            compared = [(_as_expression(each), operator) for each, operator in declared.expressions]
            yield _Demand(compared, declared.condition)


def _conflicting(
    plan: TypePlan, instance: models.Model
) -> Iterator[tuple[set[str], models.QuerySet[models.Model]]]:
    """For each demand the names of its fields, and the rows that keep the instance from meeting it.

    As Django's own validation of constraints does it.
    """
    row: Any = instance
    everybody = plan.mapping.model._base_manager.using(plan.using).order_by()
    values: dict[str, Any] = row._get_field_expression_map(meta=row._meta)
    replaced: dict[Any, Any] = {F(name): value for name, value in values.items()}
    for demand in _demands(plan.mapping.model):
        rows = everybody
        if demand.condition is not None:
            try:
                if not demand.condition.check(values, using=plan.using):
                    continue
            except (DatabaseError, TypeError, ValueError):
                continue
            rows = rows.filter(demand.condition)

        names: set[str] = set()
        for expression, operator in demand.compared:
            if hasattr(expression, "get_expression_for_validation"):
                expression = expression.get_expression_for_validation()
            names |= _fields_of(row, expression)
            wanted = expression.replace_expressions(replaced)
            rows = rows.filter(_alike(expression, operator, wanted, demand.nulls_are_alike))
        yield names, rows


def _is_exclusion(constraint: models.BaseConstraint) -> bool:
    """Whether it is an ``ExclusionConstraint``, which needs PostgreSQL's driver to be imported."""
    modules = {each.__module__ for each in type(constraint).__mro__}
    return "django.contrib.postgres.constraints" in modules


def _as_expression(named: Any) -> Any:
    return F(named) if isinstance(named, str) else named


def _alike(expression: Any, operator: str | None, wanted: Any, nulls_are_alike: bool) -> Q:
    if operator is not None:
        lookup = PostgresOperatorLookup(expression, wanted)
        lookup.postgres_operator = operator
        return Q(lookup)
    alike = Q(Exact(expression, wanted))
    if nulls_are_alike:
        alike |= Q(IsNull(expression, True), IsNull(wanted, True))
    return alike


def _fields_of(row: Any, expression: Any) -> set[str]:
    """The names of the fields that an expression looks at, also through generated ones."""
    names = {str(reference[0]) for reference in row._get_expr_references(expression)}
    generated = [field for field in row._meta.concrete_fields if field.generated]
    for field in generated:
        if field.name in names:
            names |= _fields_of(row, field.expression)
    return names
