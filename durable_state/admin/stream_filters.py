"""Filters streams in the admin by their shown status, which no column holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from durable_state import operations
from durable_state.models import Stream

from .states import STATES

__all__ = ["WAITING", "AttentionFilter", "Known", "ShownStatusFilter", "known_streams"]


class Known(NamedTuple):
    """What ordering, filters and chips need to know about a stream."""

    status: str
    stuck: bool
    dead_letters: bool
    """Whether it has any."""
    parked: bool
    """Whether it has any changes that are parked."""


WAITING: dict[str, tuple[str | Promise, Callable[[Known], bool]]] = {
    "needed": (_("Needs attention"), lambda known: known.stuck),
    "letters": (_("Dead letters"), lambda known: known.dead_letters),
    "parked": (_("Parked changes"), lambda known: known.parked),
}
"""Reasons why a stream may need attention, and the streams to which each applies."""


MANY = 1000
"""From this many streams on, ordering, filters and chips may be slightly older than the rows."""
RECENT_SECONDS = 5.0


def known_streams(request: HttpRequest, using: str) -> dict[int, Known]:
    """What is known about every stream, by primary key; looked up once per request.

    It includes streams that the user may not see: pick from it what is shown.
    """
    found = request.__dict__.setdefault("durable_state_known", {})
    if using not in found:
        found[using] = _known_lately(using)
    return found[using]  # type: ignore[no-any-return]


def _known_lately(using: str) -> dict[int, Known]:
    """What is known now or, with ``MANY`` streams, was known at most ``RECENT_SECONDS`` ago."""
    made_at, found = _latest.get(using, (0.0, {}))
    if len(found) < MANY or time.monotonic() - made_at > RECENT_SECONDS:
        unapplied = operations.unapplied(using)
        found = {
            pk: Known(status, stuck, pk in unapplied.dead_letters, pk in unapplied.parked)
            for pk, (status, stuck) in operations.standings(Stream.objects.using(using)).items()
        }
        _latest[using] = time.monotonic(), found
    return found


_latest: dict[str, tuple[float, dict[int, Known]]] = {}
"""What this process last found out about all streams, and when, by database."""


class _KnownFilter(admin.SimpleListFilter):
    """Filters streams by what is known about them."""

    def picks(self, known: Known) -> bool:
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: QuerySet[Stream]) -> QuerySet[Stream]:
        if self.value() is None:
            return queryset
        found = known_streams(request, queryset.db)
        return queryset.filter(pk__in=[pk for pk, known in found.items() if self.picks(known)])


class AttentionFilter(_KnownFilter):
    """Streams that wait for a person."""

    title = _("attention")
    parameter_name = "attention"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(name, title) for name, (title, _picks) in WAITING.items()]

    def picks(self, known: Known) -> bool:
        _title, is_waiting = WAITING.get(self.value() or "", ("", lambda _known: True))
        return bool(is_waiting(known))


class ShownStatusFilter(_KnownFilter):
    """Streams by the status that the list shows."""

    title = _("status")
    parameter_name = "shown"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(status, state.label) for status, state in STATES.items()]

    def picks(self, known: Known) -> bool:
        return known.status == self.value()
