"""What dead letters and parked changes share in the admin: they quote values of an entity."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from durable_state.models import DeadLetter, Stream, entity_digest
from durable_state.operations.bounded_counts import letters_up_to, parked_up_to
from durable_state.operations.wording import number, visible
from durable_state.policy import Insight, readable_streams, readable_values
from durable_state.registry import registry

from .searching import newest, search_words
from .visibility import OperatorAdmin, moment, stream_link

__all__ = ["DiagnosticAdmin", "pretty", "short"]

_SHOWN_BYTES = 200_000
_SEARCHED = 500
"""The most types for which the policy is asked whether a search may look into their values. If a
stream has more, only types and reasons are searched.
"""
_WITH_A_KEY = 500
"""How many rows about one entity key a search finds."""
_STREAMS = 500
"""How many streams one query searches for a key."""
_NOTHING = Q(pk__in=[])
_HIDDEN = _("hidden: you do not see the row")


def pretty(body: bytes) -> str:
    """A message's bytes as text that any page can show: indented if they are JSON, otherwise as
    they are.
    """
    is_cut = len(body) > _SHOWN_BYTES
    try:
        if is_cut:
            text = body.decode()
        else:
            text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")

    # Lone surrogates cannot be sent, and control characters are invisible.
    text = text[:_SHOWN_BYTES].encode("utf-8", "backslashreplace").decode()
    text = visible(text, keep="\n\t")
    if not is_cut:
        return text
    size = gettext("… cut; %(count)s bytes in all") % {"count": number(len(body))}
    return f"{text}\n{size}"


class DiagnosticAdmin(OperatorAdmin):
    """Rows that belong to a stream and quote values of an entity.

    Values are shown to users who may see the entity's row. A page marks such rows with
    ``values_readable``; a row without the mark shows no values.
    """

    search_fields = ["type", "reason"]
    """And the values themselves, where all of a type may be read."""
    search_help_text = _("Finds an entity by its whole key, and words in the newest 10,000 rows.")
    lookups = frozenset({"reason", "reason__exact", "stream", "stream__id__exact"})
    ordering = ["-pk"]
    list_select_related = ["stream"]

    class Media:
        css = {"all": ["durable_state/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        readable = readable_streams(request.user).order_by()
        return super().get_queryset(request).filter(stream__in=readable.values("pk"))

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any | None:
        found = super().get_object(request, object_id, from_field)
        if found is not None:
            found.values_readable = found.pk in readable_values(request.user, [found])
        return found

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        listed = list(changelist.result_list)
        readable = readable_values(request.user, listed)
        for each in listed:
            each.values_readable = each.pk in readable
        changelist.result_list = listed
        return changelist

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Finds a key in all rows, and words in the newest ones: in types, reasons, and the values
        of types that the user may read completely.
        """
        words = search_words(search_term)
        if not words:
            return queryset, False

        recent = newest(queryset)
        wholly_readable = _wholly_readable(request, recent)
        for word in words:
            in_values = Q(key__icontains=word) | Q(detail__icontains=word)
            in_open = Q(type__icontains=word) | Q(reason__icontains=word)
            recent = recent.filter(in_open | (wholly_readable & in_values))
        of_key = _of_key(request, queryset, search_term.strip())
        if not of_key:
            return recent, False
        others = recent.order_by("-pk").values_list("pk", flat=True)[:_WITH_A_KEY]
        return queryset.filter(pk__in=[*of_key, *others]), False

    @admin.display(description=_("entity"))
    def entity_key(self, obj: Any) -> SafeString:
        return format_html(
            '<span class="ds-entity">{}</span> {}', short(obj.type) or "-", self.key_cell(obj)
        )

    @admin.display(description=_("key"))
    def key_cell(self, obj: Any) -> SafeString:
        return self.value_cell(obj, lambda: format_html("<code>{}</code>", short(obj.key)))

    @admin.display(description=_("detail"))
    def detail_text(self, obj: Any) -> SafeString:
        cell = '<div class="ds-detail">{}</div>'
        return self.value_cell(obj, lambda: format_html(cell, obj.detail))

    @admin.display(description=_("where"))
    def where(self, obj: Any) -> SafeString:
        return format_html(
            '{}<span class="ds-quiet ds-line">{}</span><span class="ds-quiet ds-line">{}</span>',
            self.stream_link(obj),
            gettext("message %(number)s") % {"number": self.message_number(obj)},
            moment(obj.created_at),
        )

    @admin.display(description=_("message"))
    def message_number(self, obj: Any) -> str:
        return number(obj.ordinal)

    @admin.display(description=_("stream"))
    def stream_link(self, obj: Any) -> SafeString:
        return stream_link(self, obj.stream)

    @admin.display(description=_("when"))
    def when(self, obj: Any) -> str:
        return moment(obj.created_at)

    def value_cell(self, obj: Any, show: Callable[[], SafeString]) -> SafeString:
        """Returns what ``show`` makes of the row if the user may see its values."""
        if getattr(obj, "values_readable", False):
            return show()
        return format_html('<span class="ds-quiet">{}</span>', _HIDDEN)


def _wholly_readable(request: HttpRequest, queryset: QuerySet[Any]) -> Q:
    """Filters to the types, per stream, whose values the user may read completely."""
    kinds = list(queryset.order_by().values_list("stream", "type").distinct()[: _SEARCHED + 1])
    if len(kinds) > _SEARCHED:
        return _NOTHING

    streams = Stream.objects.using(queryset.db).filter(pk__in={pk for pk, _ in kinds})
    insights = {stream.pk: Insight(request.user, stream) for stream in streams}
    wholly = _NOTHING
    for pk, entity_type in kinds:
        if pk in insights and insights[pk].sees_all(entity_type):
            wholly |= Q(stream=pk, type=entity_type)
    return wholly


def _of_key(request: HttpRequest, queryset: QuerySet[Any], key: str) -> list[int]:
    """The rows about an entity with this key whose values the user may see; finds them by the index
    of entities.
    """
    types = {mapping.entity_type for mapping in registry}
    digests = [entity_digest(each, key) for each in sorted(types)]
    using = queryset.db
    every = list(Stream.objects.using(using).order_by().values_list("pk", flat=True))
    count = letters_up_to if queryset.model is DeadLetter else parked_up_to
    pks = sorted(count(using, every, 0))  # the streams that have any rows
    found: list[Any] = []
    for start in range(0, len(pks), _STREAMS):  # the index begins with the stream
        some = queryset.filter(stream__in=pks[start : start + _STREAMS], entity__in=digests)
        found += some.order_by()[: _WITH_A_KEY - len(found)]
        if len(found) == _WITH_A_KEY:
            break
    readable = readable_values(request.user, found)
    return [each.pk for each in found if each.pk in readable]


def short(text: str) -> str:
    """``text``, cut to fit a cell of a list."""
    return text if len(text) <= 80 else f"{text[:79]}…"
