"""Dead letters in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from durable_state import operations
from durable_state.models import DeadLetter
from durable_state.operations.wording import number
from durable_state.policy import readable_values

from .confirmation import LISTED, Consequence, Question, ask, back, confirmed
from .diagnostics import DiagnosticAdmin, pretty, short
from .paging import COUNTED, at_most
from .reasons import reason_of
from .visibility import StreamFilter, actor

__all__ = ["DeadLetterAdmin"]


class ReasonFilter(admin.SimpleListFilter):
    """Filters by reason code. It offers the codes in use, which it finds in the index."""

    title = gettext_lazy("reason")
    parameter_name = "reason"
    offered = 30

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        rows = DeadLetter.objects.order_by("reason")
        while len(found) < self.offered:
            following = rows.filter(reason__gt=found[-1][0]) if found else rows
            letter = following.only("reason", "entity").first()
            if letter is None:
                break
            found.append((letter.reason, str(reason_of(letter).words)))
        return found

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(reason=self.value())

    def has_output(self) -> bool:
        return bool(self.lookup_choices)


@admin.register(DeadLetter)
class DeadLetterAdmin(DiagnosticAdmin):
    """Refused messages, which actions retry or discard."""

    change_list_template = "durable_state/admin/letter_list.html"
    change_form_template = "durable_state/admin/letter.html"
    list_display = ["entity_key", "why", "where"]
    list_display_links = ["entity_key"]
    list_filter = [ReasonFilter, StreamFilter]
    fields = [
        "entity_key",
        "reason_words",
        "detail_text",
        "advice",
        "message",
        "stream_link",
        "message_number",
        "when",
    ]
    actions = ["retry", "discard"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        return super().get_queryset(request).filter(generation=DeadLetter.SHOWN)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, object] | None = None,
    ) -> HttpResponse:
        letter = self.get_object(request, object_id)
        extra = {
            "may_operate": self.has_operate_permission(request),
            "may_retry": letter is not None and not letter.is_malformed,
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, extra)

    @admin.display(description=gettext_lazy("message, as it came"))
    def message(self, letter: DeadLetter) -> SafeString:
        cell = '<pre class="ds-body">{}</pre>'
        return self.value_cell(letter, lambda: format_html(cell, pretty(bytes(letter.body))))

    @admin.display(description=gettext_lazy("reason"))
    def reason_words(self, letter: DeadLetter) -> SafeString:
        cell = '<span class="ds-pill ds-bad" title="{}">{}</span>'
        return format_html(cell, letter.reason, reason_of(letter).words)

    @admin.display(description=gettext_lazy("why"))
    def why(self, letter: DeadLetter) -> SafeString:
        return format_html("{}{}", self.reason_words(letter), self.detail_text(letter))

    @admin.display(description=gettext_lazy("what to do"))
    def advice(self, letter: DeadLetter) -> str:
        return str(reason_of(letter).advice)

    @admin.action(description=gettext_lazy("Retry"), permissions=["operate"])
    def retry(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        if not confirmed(request):
            question = Question(_("Retry %(name)s?"), _("Yes, retry"))
            return self._ask(request, queryset, "retry", question, _retrying)

        malformed = queryset.filter(entity__startswith=DeadLetter.NO_ENTITY)
        left = malformed.order_by()[: COUNTED + 1].count()
        others = queryset.exclude(entity__startswith=DeadLetter.NO_ENTITY)
        accepted, refused = operations.retry_all(others, actor=actor(request))
        if accepted:
            told = ngettext("%d accepted.", "%d accepted.", accepted) % accepted
            self.message_user(request, told, messages.SUCCESS)
        if refused:
            told = ngettext(
                "%d refused again, or superseded by a later change.",
                "%d refused again, or superseded by a later change.",
                refused,
            )
            self.message_user(request, told % refused, messages.WARNING)
        if left:
            told = _("%(count)s left as they are: they are not messages.")
            self.message_user(request, told % {"count": at_most(left)}, messages.WARNING)
        return back(self, request)

    @admin.action(description=gettext_lazy("Discard"), permissions=["operate"])
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        if not confirmed(request):
            question = Question(_("Discard %(name)s?"), _("Yes, discard"), danger=True)
            return self._ask(request, queryset, "discard", question, _discarding)

        count = operations.discard_all(queryset, actor=actor(request))
        self.message_user(request, _("Discarded %(count)d.") % {"count": count}, messages.SUCCESS)
        return back(self, request)

    def _ask(
        self,
        request: HttpRequest,
        queryset: QuerySet[DeadLetter],
        verb: str,
        question: Question,
        effect: Any,
    ) -> HttpResponse:
        """Explains all letters with the same reason together."""
        count = queryset.order_by()[: COUNTED + 1].count()
        listed = list(queryset.select_related("stream")[:LISTED])
        readable = readable_values(request.user, listed)

        groups: dict[tuple[str, bool], list[DeadLetter]] = {}
        for each in listed:
            groups.setdefault((each.reason, each.is_malformed), []).append(each)
        consequences = [
            Consequence(
                f"{reason_of(same[0]).words} ({len(same)})",
                [effect(same[0])],
                [_named(each, each.pk in readable) for each in same],
            )
            for same in groups.values()
        ]
        several = _("%(count)s dead letters") % {"count": at_most(count)}
        question = question.about(_("a dead letter") if count == 1 else several)
        return ask(self, request, verb, question, consequences, count=count, listed=len(listed))


def _retrying(letter: DeadLetter) -> str:
    if letter.is_malformed:
        return _("Left as it is: it is not a message, so trying it again changes nothing.")
    return _("The message is tried again. If it is refused again, it stays here.")


def _discarding(letter: DeadLetter) -> str:
    return _("The dead letter is deleted. Its message stays in the stream.")


def _named(letter: DeadLetter, is_readable: bool) -> str:
    known = {
        "stream": letter.stream.name,
        "number": number(letter.ordinal),
        "type": short(letter.type),
    }
    name = _("%(stream)s, message %(number)s: %(type)s") % known
    name = name.rstrip(" :")
    return f"{name} {short(letter.key)}" if is_readable else name
