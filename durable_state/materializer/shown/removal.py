"""Deletes rows, and takes care of the rows that point to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any

from django.db import IntegrityError, connections, models, transaction
from django.db.models.deletion import (
    Collector,
    ProtectedError,
    RestrictedError,
)

from durable_state.conversion import key_text
from durable_state.databases import find_database
from durable_state.models import Stream

from ..changes import Outcome
from ..plan import PlannedField, TypePlan
from ..rows.instances import read_instances
from ..rows.outside import check_restricted, check_updates, other_streams_rows, pointing_to
from ..rows.relations import circles, may_form_circle
from ..rows.rows import chunks, most_keys, rows_with
from .children import PAGE, Children, Rows, column_values
from .workspace import Workspace

__all__ = ["Removal", "remove_rows"]


class Removal:
    """Deletes rows of one stream.

    Mapped children that the stream still holds are parked, together with the application's data in
    their rows, and their rows are deleted; with SET_NULL or SET_DEFAULT as ``on_delete`` the rows
    stay, without their parent. The same holds for children behind unmapped tables. Rows outside
    the mappings follow ``on_delete``; a row that protects its parent, or cannot do what
    ``on_delete`` says, prevents the deletion. No model signals are sent.

    With ``for_good``, mapped children are deleted with their parents, and nothing is parked.
    """

    def __init__(self, space: Workspace, *, for_good: bool = False) -> None:
        self.removed = 0
        self._children = Children(space, for_good=for_good)
        self._plans = space.plans
        self._lot = space.lot
        self._openings = space.openings
        self._outcome = space.outcome
        self._leaving: dict[TypePlan, set[Any]] = {}

    def remove(self, plan: TypePlan, key_values: Iterable[Any]) -> dict[str, str]:
        """Deletes the rows with these keys, if any; returns the keys of those that had to stay,
        each with the reason.
        """
        refused: dict[str, str] = {}
        for rows in self._find(plan, key_values):
            refused |= self._remove(plan, rows, self._outcome)
        return refused

    def hide(self, plan: TypePlan, key_values: Iterable[Any]) -> dict[str, str]:
        """Deletes the rows of entities that the stream still holds, and keeps their primary keys
        and the application's columns; returns what ``remove`` does.
        """
        refused: dict[str, str] = {}
        for rows in self._find(plan, key_values):
            for chunk in chunks(rows):
                self._lot.kept.keep(plan, read_instances(plan.rows().filter(pk__in=chunk)))
            stayed = self._remove(plan, rows, self._outcome)
            self._lot.kept.forget(plan.digest(key) for key in stayed)
            gone = [plan.digest(key) for key in rows.values() if key not in stayed]
            self._lot.set_stale(gone, stale=False)
            refused |= stayed
        return refused

    def find_protected(self, plan: TypePlan, key_values: Iterable[Any]) -> set[str]:
        """The keys of the rows that could not be deleted as things stand. Deletes none."""
        found: set[str] = set()
        for rows in self._find(plan, key_values):
            with transaction.atomic(using=plan.using):
                found |= self._remove(plan, rows, Outcome(0)).keys()
                transaction.set_rollback(True, using=plan.using)
        return found

    def detach_children(self, plan: TypePlan, attname: str, named: Mapping[Any, str]) -> None:
        """Parks the children of parents that give up the values by which children point to them.

        ``named`` maps these values to the parents' keys. A child whose row cannot be deleted stays,
        and is redirected to its parent's new value, as the application's rows are.
        """
        for child, planned in self._plans.children(plan):
            if planned.field.target_field.attname != attname:  # type: ignore[attr-defined]
                continue
            for value, key in named.items():
                made = Outcome(self._outcome.listed)
                try:
                    with transaction.atomic(using=plan.using):
                        for page in self._find_leaving(child, planned, {value: key}, made):
                            if refused := self._remove(child, page, made):
                                raise ProtectedError(next(iter(refused.values())), set())
                except ProtectedError:
                    continue
                self._outcome.take_changes(made)

    def _find(self, plan: TypePlan, key_values: Iterable[Any]) -> Iterator[Rows]:
        key = plan.mapping.key
        for chunk in chunks(key_values, most_keys(plan, key)):
            found = rows_with(plan, chunk).values_list("pk", key.attname)
            # MySQL finds "a" for "a " where the column's collation pads.
            wanted = {key_text(key, value) for value in chunk}
            yield {pk: text for pk, value in found if (text := key_text(key, value)) in wanted}

    def remove_everything(self) -> None:
        """Deletes all rows of the stream, children first.

        Raises: ProtectedError, RestrictedError, where a row outside the mappings prevents it.
        """
        for plan in reversed(self._plans.all()):
            key = plan.mapping.key
            while found := dict(plan.rows().order_by("pk").values_list("pk", key.attname)[:PAGE]):
                rows = {pk: key_text(key, value) for pk, value in found.items()}
                self._remove_all(plan, rows, self._outcome)

    def _remove(self, plan: TypePlan, rows: Rows, made: Outcome) -> dict[str, str]:
        """Deletes rows, bisecting where one of them must stay; adds what was done to ``made``."""
        if not rows:
            return {}
        changes = Outcome(made.listed)
        try:
            with transaction.atomic(using=plan.using):
                self._remove_all(plan, rows, changes)
        except (ProtectedError, RestrictedError, IntegrityError) as error:
            # An IntegrityError: a row of the application cannot become what its on_delete says.
            if len(rows) == 1:
                return {key: str(error.args[0]) for key in rows.values()}

            pks = list(rows)
            halves = pks[: len(pks) // 2], pks[len(pks) // 2 :]
            first, second = ({pk: rows[pk] for pk in half} for half in halves)
            return self._remove(plan, first, made) | self._remove(plan, second, made)

        made.take_changes(changes)
        return {}

    def _remove_all(self, plan: TypePlan, rows: Rows, made: Outcome) -> None:
        """Deletes rows and all that depends on them. Raises: ProtectedError, RestrictedError."""
        circle = next((group for group in circles(self._plans.all()) if plan in group), [plan])

        # Rows of one circle may point to each other, so they are deleted only when all that go with
        # them are known.
        leaving: dict[TypePlan, Rows] = {each: {} for each in circle}
        leaving[plan] |= rows

        known_before = {each: set(pks) for each, pks in self._leaving.items()}
        self._leaving.setdefault(plan, set()).update(rows)
        try:
            self._collect(plan, rows, leaving, made)
            self._delete_collected(plan, circle, leaving, made)
        finally:
            self._leaving = known_before

    def _collect(
        self, plan: TypePlan, rows: Rows, leaving: dict[TypePlan, Rows], made: Outcome
    ) -> None:
        """Finds the mapped children that go with the rows; deletes those outside the circle at
        once.
        """
        left = [(plan, rows)]
        while left:
            parent, parents = left.pop()
            for child, planned in self._plans.children(parent):
                targets = column_values(parent, planned, parents)
                for page in self._find_leaving(child, planned, targets, made):
                    if child in leaving:
                        leaving[child] |= page
                        self._leaving.setdefault(child, set()).update(page)
                        left.append((child, page))
                    elif refused := self._remove(child, page, made):
                        raise ProtectedError(next(iter(refused.values())), set())

    def _delete_collected(
        self,
        plan: TypePlan,
        circle: list[TypePlan],
        leaving: dict[TypePlan, Rows],
        made: Outcome,
    ) -> None:
        # MySQL checks each row of a DELETE by itself, also where the rows that point to it go too.
        checks = (
            connections[plan.using].constraint_checks_disabled
            if may_form_circle(circle)
            else nullcontext
        )
        database = find_database(plan.using)

        for each in reversed(circle):
            rows_of_type = each.mapping.model._base_manager.using(plan.using)
            pk = each.mapping.model._meta.pk
            for chunk in chunks(leaving[each], most_keys(each, pk)):
                rows_to_go = rows_of_type.filter(database.is_one_of(pk, chunk))
                self._follow_outside(each, rows_to_go, made)
                with checks():
                    rows_to_go._raw_delete(plan.using)

            made.changed(each.type, leaving[each].values(), deleted=True)
            if leaving[each]:
                self.removed += len(leaving[each])
                self._openings.add_freed(each, leaving[each].values())

    def _find_leaving(
        self, child: TypePlan, planned: PlannedField, targets: Rows, made: Outcome
    ) -> Iterator[Rows]:
        """The children of leaving parents whose rows have to be deleted, page by page."""
        return self._children.detach(
            child, planned, targets, made, lambda: self._leaving.get(child, ())
        )

    def _follow_outside(
        self, plan: TypePlan, rows: models.QuerySet[models.Model], made: Outcome
    ) -> None:
        """Applies ``on_delete`` to rows outside the mappings that point to the leaving ones.

        Raises: ProtectedError, RestrictedError, IntegrityError, where one prevents the deletion.
        """
        collector = Collector(using=plan.using, origin=rows)
        followed = False
        mapped = {(child.mapping.model, p.name): child for child, p in self._plans.children(plan)}

        for relation, outside in pointing_to(plan.mapping.model, rows, plan.using):
            child = mapped.get((relation.related_model, relation.field.name))
            if child is not None:
                if not child.scope:
                    continue
                outside = outside.exclude(**child.scope)
            if not outside.exists():
                continue

            followed = True
            self._follow(relation, outside, made, plan.using)
            relation.on_delete(collector, relation.field, outside, plan.using)

        if followed:
            check_restricted(collector)
            check_updates(collector, rows)
            collector.delete()

    def _follow(
        self, relation: Any, outside: models.QuerySet[Any], made: Outcome, using: str
    ) -> None:
        """Deletes the mapped children of outside rows that are about to be deleted, or refuses."""
        on_delete, label = relation.on_delete, relation.related_model._meta.label

        # Relations that prevent the deletion.
        if on_delete in (models.RESTRICT, models.DO_NOTHING):
            raise RestrictedError(f"{label} rows point to it ({on_delete.__name__}).", set())
        if other_streams_rows(relation, outside, using).exists():
            raise RestrictedError(f"{label} rows of another stream point to it.", set())
        if on_delete is not models.CASCADE:
            return

        # The outside rows are deleted, with the mapped children that point to them, and so on.
        for further, beyond in pointing_to(relation.related_model, outside, using):
            for child, planned in self._mapped_by(further):
                targets = dict.fromkeys(
                    outside.values_list(planned.field.target_field.attname, flat=True)  # type: ignore[attr-defined]
                )
                named = {value: value for value in targets if value is not None}
                for page in self._find_leaving(child, planned, named, made):
                    if refused := self._remove(child, page, made):
                        raise ProtectedError(next(iter(refused.values())), set())

            if further.on_delete is models.DO_NOTHING and beyond.exists():
                label = further.related_model._meta.label
                raise RestrictedError(
                    f"{label} rows point to rows that depend on it (DO_NOTHING).", set()
                )
            if further.on_delete is models.CASCADE and beyond.exists():
                self._follow(further, beyond, made, using)

    def _mapped_by(self, relation: Any) -> list[tuple[TypePlan, PlannedField]]:
        """The types of this stream that map the relation's foreign key."""
        found = []
        for plan in self._plans.all():
            if plan.mapping.model is relation.related_model:
                found += [(plan, each) for each in plan.relations if each.field == relation.field]
        return found


def remove_rows(stream: Stream) -> int:
    """Deletes all rows of a stream, and returns how many there were.

    Raises: ProtectedError, RestrictedError.
    """
    removal = Removal(Workspace.on(stream), for_good=True)
    removal.remove_everything()
    return removal.removed
