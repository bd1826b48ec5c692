"""What happens to mapped children when their parents are deleted: they are parked, and their rows
are deleted too, or stay without a parent.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from typing import Any

from django.db import models

from ..changes import Outcome
from ..parked.lot import Parking
from ..plan import PlannedField, TypePlan
from ..rows.from_rows import prepared_from_row, with_parents
from ..rows.instances import read_instances
from ..rows.relations import MissingParent, stand_in_for
from ..rows.rows import chunks
from .workspace import Workspace

__all__ = ["Children", "Rows", "column_values"]

Rows = dict[Any, str]
"""Keys by primary key."""

PAGE = 500
"""Children that are held in memory at once."""


class Children:
    """Detaches the mapped children of one stream from parents that are being deleted.

    With ``for_good`` they are deleted with their parents, and nothing is parked.
    """

    def __init__(self, space: Workspace, *, for_good: bool) -> None:
        self._lot = space.lot
        self._openings = space.openings
        self._for_good = for_good

    def detach(
        self,
        child: TypePlan,
        planned: PlannedField,
        targets: Rows,
        made: Outcome,
        leaving: Callable[[], Container[Any]],
    ) -> Iterator[Rows]:
        """Parks the children of leaving parents page by page, and yields those whose rows have to
        be deleted too.

        ``targets`` maps the values by which children point to the parents to the parents' keys.
        ``leaving`` returns the primary keys of children already known to be deleted; it is called
        for each page, since it may have grown.
        """
        on_delete = planned.field.remote_field.on_delete  # type: ignore[union-attr]
        for chunk in chunks(targets):
            last = None
            while True:
                queryset = child.rows().filter(**{f"{planned.attname}__in": chunk}).order_by("pk")
                if last is not None:
                    queryset = queryset.filter(pk__gt=last)
                found = read_instances(with_parents(child, queryset)[:PAGE])
                if not found:
                    break

                last = found[-1].pk
                known = leaving()
                rows = {child.mapping.key_of(row): row for row in found if row.pk not in known}
                keys = {row.pk: key for key, row in rows.items()}
                if self._for_good:
                    yield keys
                    continue
                stays, stand_in = _without_parent(child, planned, on_delete, targets)
                self._park(child, planned, rows, targets, stays=stays)
                if not stays:
                    self._lot.kept.keep(child, rows.values())
                    yield keys
                    continue
                for some in chunks(keys):
                    child.rows().filter(pk__in=some).update(**{planned.attname: stand_in})
                made.changed(child.type, keys.values(), deleted=False)
                self._openings.add_freed(child, keys.values())

    def _park(
        self,
        child: TypePlan,
        planned: PlannedField,
        rows: dict[str, models.Model],
        targets: Rows,
        *,
        stays: bool,
    ) -> None:
        """Parks children of leaving parents, except where a newer change of theirs is parked."""
        parked = self._lot.find(child.digest(key) for key in rows)
        held = {key: parked.get(child.digest(key)) for key in rows}
        newer = [key for key, each in held.items() if each is not None and not each.is_link]
        if not stays:
            self._lot.set_stale((child.digest(key) for key in newer), stale=False)

        self._lot.park(
            Parking(
                child,
                prepared_from_row(child, row, held[key]),
                MissingParent(planned, targets[getattr(row, planned.attname)], elsewhere=False),
                is_shown=stays,
            )
            for key, row in rows.items()
            if key not in newer
        )


def _without_parent(
    child: TypePlan, planned: PlannedField, on_delete: Any, targets: Rows
) -> tuple[bool, Any]:
    """Whether a row stays when its parent is deleted, and what its column holds from then on."""
    if on_delete is models.SET_NULL and planned.field.null:
        return True, None
    if on_delete is not models.SET_DEFAULT:
        return False, None
    stays, stand_in = stand_in_for(child, planned)
    if stand_in in targets:  # the row that the default names is leaving, too
        return planned.field.null, None
    return stays, stand_in


def column_values(plan: TypePlan, planned: PlannedField, keys: Rows) -> Rows:
    """The values by which children point to these parents, each with the parent's key."""
    target = planned.field.target_field  # type: ignore[attr-defined]
    if target.primary_key:
        return keys
    found = {}
    for chunk in chunks(keys):
        rows = plan.mapping.model._base_manager.using(plan.using).filter(pk__in=chunk)
        found.update({value: keys[pk] for pk, value in rows.values_list("pk", target.attname)})
    return found
