"""Finding streams in the admin by what is shown of them, which no column holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from durable_state import operations
from durable_state.models import Stream
from durable_state.operations import StreamReport

from .states import STATES

__all__ = ["WAITING", "AttentionFilter", "ShownStatusFilter", "known_reports"]

WAITING: dict[str, tuple[str | Promise, Callable[[StreamReport], bool]]] = {
    "needed": (_("Needs attention"), lambda report: report.stuck),
    "letters": (_("Dead letters"), lambda report: report.dead_letters > 0),
    "parked": (_("Parked changes"), lambda report: report.parked > 0),
}
"""What may wait for a person, and which streams have it."""


MANY = 1000
"""Streams from which on the list's order, filters and chips may be a little older than its rows."""
RECENT_SECONDS = 5.0


def known_reports(request: HttpRequest, using: str) -> dict[int, StreamReport]:
    """The reports of all streams, once for each request; whether there are letters, not how many.

    Not only of those that the person may see: what is shown is picked from it.
    """
    found = request.__dict__.setdefault("durable_state_reports", {})
    if using not in found:
        found[using] = _recent_reports(using)
    return found[using]  # type: ignore[no-any-return]


def _recent_reports(using: str) -> dict[int, StreamReport]:
    """The reports as of now; of ``MANY`` streams as of ``RECENT_SECONDS`` ago at most."""
    made_at, found = _latest.get(using, (0.0, {}))
    if len(found) < MANY or time.monotonic() - made_at > RECENT_SECONDS:
        found = operations.reports(using, count_to=0)
        _latest[using] = time.monotonic(), found
    return found


_latest: dict[str, tuple[float, dict[int, StreamReport]]] = {}
"""By database, the reports of all streams, and when this process has read them."""


class _ReportFilter(admin.SimpleListFilter):
    """Picks streams by their reports."""

    def picks(self, report: StreamReport) -> bool:
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: QuerySet[Stream]) -> QuerySet[Stream]:
        if self.value() is None:
            return queryset
        found = known_reports(request, queryset.db)
        return queryset.filter(pk__in=[pk for pk, report in found.items() if self.picks(report)])


class AttentionFilter(_ReportFilter):
    """Streams that wait for a person."""

    title = _("attention")
    parameter_name = "attention"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(name, title) for name, (title, _picks) in WAITING.items()]

    def picks(self, report: StreamReport) -> bool:
        _title, is_waiting = WAITING.get(self.value() or "", ("", lambda _report: True))
        return bool(is_waiting(report))


class ShownStatusFilter(_ReportFilter):
    """Streams by the status that the list shows."""

    title = _("status")
    parameter_name = "shown"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(status, state.label) for status, state in STATES.items()]

    def picks(self, report: StreamReport) -> bool:
        return bool(report.status == self.value())
