"""The list of streams: those that need attention come first, and a chip for each status finds its
streams.
"""

from __future__ import annotations

from typing import Any

from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from durable_state.models import Stream

from .states import STATES
from .stream_filters import WAITING, Known, known_streams

__all__ = ["StreamList", "chips", "told_attention"]

_URGENCY = {"bad": 1, "warn": 2, "busy": 4, "quiet": 5, "good": 6}
_LEFT_BEHIND = 3
"""The urgency of streams with dead letters: after those with a warning, before those that are busy.
"""


class StreamList(ChangeList):
    """Ordered by urgency, unless the user chooses another order; its filters are chips above it."""

    streams: QuerySet[Stream]
    """All streams that the user may see."""

    def get_filters(self, request: HttpRequest) -> Any:
        specs, _has_filters, *others = super().get_filters(request)
        return specs, False, *others

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        if ORDER_VAR in self.params:
            return super().get_ordering(request, queryset)
        # By something that no column shows, so no column is marked as the order.
        return [_urgency(known_streams(request, queryset.db)), "name", "-pk"]

    def get_ordering_field_columns(self) -> dict[Any, Any]:
        return super().get_ordering_field_columns() if ORDER_VAR in self.params else {}


def _urgency(streams: dict[int, Known]) -> Any:
    by_rank: dict[int, list[int]] = {}
    for pk, known in streams.items():
        rank = 0 if known.stuck else _URGENCY[STATES[known.status].tone]
        if known.dead_letters:
            rank = min(rank, _LEFT_BEHIND)
        by_rank.setdefault(rank, []).append(pk)
    by_rank.pop(_URGENCY["good"], None)
    whens = [When(pk__in=pks, then=Value(rank)) for rank, pks in by_rank.items()]
    return Case(*whens, default=Value(_URGENCY["good"]), output_field=IntegerField())


def chips(request: HttpRequest, streams: QuerySet[Stream]) -> SafeString:
    """Renders a link with a count for each status in use, and for each reason for attention."""
    known = known_streams(request, streams.db)
    visible = set(streams.values_list("pk", flat=True))
    seen = [each for pk, each in known.items() if pk in visible]
    found: list[tuple[str, Any, int, str, Any]] = []
    for name, (title, is_waiting) in WAITING.items():
        if count := sum(is_waiting(each) for each in seen):
            tone = "bad" if name == "needed" else "warn"
            found.append((f"attention={name}", title, count, tone, title))
    for status, state in STATES.items():
        if count := sum(each.status == status for each in seen):
            found.append((f"shown={status}", state.label, count, state.tone, state.meaning))

    chosen = {f"{name}={request.GET[name]}" for name in _CHOICES if name in request.GET}
    every = ("", _("All"), len(seen), "quiet", _("All streams"))
    return format_html_join(
        "",
        '<a class="ds-chip ds-{}{}" href="?{}" title="{}">{} <b>{}</b></a>',
        (
            (
                tone,
                " ds-chosen" if query in chosen or not (query or chosen) else "",
                query,
                meaning,
                label,
                count,
            )
            for query, label, count, tone, meaning in [every, *found]
        ),
    )


_CHOICES = ("attention", "shown")


def told_attention(request: HttpRequest, streams: QuerySet[Stream]) -> str:
    """``1 stream needs attention: chat``; empty where none does."""
    known = known_streams(request, streams.db)
    stuck = [pk for pk, each in known.items() if each.stuck]
    names = sorted(streams.filter(pk__in=stuck).values_list("name", flat=True)) if stuck else []
    if not names:
        return ""
    told = ngettext(
        "%(count)d stream needs attention: %(names)s",
        "%(count)d streams need attention: %(names)s",
        len(names),
    )
    listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return told % {"count": len(names), "names": listed}
