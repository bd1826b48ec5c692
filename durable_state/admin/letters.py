"""Dead letters in the admin."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from durable_state import operations
from durable_state.models import DeadLetter
from durable_state.policy import readable_values

from .confirmation import LISTED, Consequence, ask, back, confirmed
from .diagnostics import DiagnosticAdmin, pretty, short
from .visibility import actor

__all__ = ["DeadLetterAdmin"]


@admin.register(DeadLetter)
class DeadLetterAdmin(DiagnosticAdmin):
    """Refused messages; tried again or discarded by actions."""

    list_display = ["ordinal", "stream", "entity_key", "reason_code", "short_detail", "when"]
    list_display_links = ["ordinal"]
    list_filter = ["reason", ("stream", admin.RelatedOnlyFieldListFilter)]
    list_select_related = ["stream"]
    fields = [
        "stream",
        "ordinal",
        "type",
        "key_cell",
        "reason_code",
        "detail_text",
        "created_at",
        "message",
    ]
    readonly_fields = ["key_cell", "reason_code", "detail_text", "message"]
    change_form_template = "durable_state/admin/letter.html"
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
        extra = {"may_operate": self.has_operate_permission(request), **(extra_context or {})}
        return super().change_view(request, object_id, form_url, extra)

    @admin.display(description="message")
    def message(self, letter: DeadLetter) -> SafeString:
        cell = '<pre class="ds-body">{}</pre>'
        return self.value_cell(letter, lambda: format_html(cell, pretty(bytes(letter.body))))

    @admin.display(description="reason", ordering="reason")
    def reason_code(self, letter: DeadLetter) -> SafeString:
        return format_html('<span class="ds-pill ds-warn">{}</span>', letter.reason)

    @admin.action(description="Retry", permissions=["operate"])
    def retry(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        if not confirmed(request):
            effect = "The message is materialized again, the way it came; refused again, it stays."
            return self._ask(request, queryset, "retry", effect)

        accepted, refused = operations.retry_all(queryset, actor=actor(request))
        if accepted:
            self.message_user(request, f"{accepted} accepted.", messages.SUCCESS)
        if refused:
            told = f"{refused} refused again, or superseded by a later change."
            self.message_user(request, told, messages.WARNING)
        return back(self, request)

    @admin.action(description="Discard", permissions=["operate"])
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        if not confirmed(request):
            effect = "The letter is deleted. Its message stays in the stream."
            return self._ask(request, queryset, "discard", effect, danger=True)

        count = operations.discard_all(queryset, actor=actor(request))
        self.message_user(request, f"Discarded {count}.", messages.SUCCESS)
        return back(self, request)

    def _ask(
        self,
        request: HttpRequest,
        queryset: QuerySet[DeadLetter],
        verb: str,
        effect: str,
        danger: bool = False,
    ) -> HttpResponse:
        count = queryset.count()
        listed = list(queryset.select_related("stream")[:LISTED])
        readable = readable_values(request.user, listed)

        consequences = []
        for each in listed:
            name = f"{each.stream.name}, message {each.ordinal:,}: {short(each.type)}"
            if each.pk in readable:
                name = f"{name} {short(each.key)}"
            consequences.append(Consequence(name.rstrip(), [each.reason, effect]))

        name = "a dead letter" if count == 1 else f"{count} dead letters"
        return ask(self, request, verb, name, consequences, count=count, danger=danger)
