"""Lists of any length: counting stops beyond the pages that anybody would turn to."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from durable_state.operations.wording import number

__all__ = ["COUNTED", "AtLeast", "BoundedChangeList", "BoundedPaginator", "at_most"]

COUNTED = 10_000
"""How many rows a list counts and pages through; filters and searches find the others."""


class AtLeast(int):
    """A count that stopped at its limit: it reads "10,000+"."""

    def __str__(self) -> str:
        return at_most(int(self))


def at_most(count: int) -> str:
    """``9``, or ``10,000+`` if there are more than were counted."""
    return f"{number(COUNTED)}+" if count > COUNTED else number(count)


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts at most ``COUNTED`` rows and one more, however large the table is."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        found = rows.order_by()[: COUNTED + 1].count()
        return AtLeast(found) if found > COUNTED else found

    def page(self, number: Any) -> Page[Any]:
        """One page.

        Its keys are read first, from an index alone if there is one: a database that reads whole
        rows in order may pass over very many rows of other streams.
        """
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return super().page(number)
        number = self.validate_number(number)
        first = (number - 1) * self.per_page
        pks = list(rows.values_list("pk", flat=True)[first : first + self.per_page])
        return Page(rows.filter(pk__in=pks), number, self)


class BoundedChangeList(ChangeList):
    """A list that shows ``10,000+`` where its paginator stopped counting."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if isinstance(self.paginator, BoundedPaginator):
            self.result_count = self.paginator.count
            if not (self.query or self.has_active_filters):
                self.full_result_count = self.result_count  # all are shown, so no total is
