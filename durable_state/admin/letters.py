"""Dead letters and parked changes in the admin."""

from __future__ import annotations

import json

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import is_aware, localtime

from durable_state import operations
from durable_state.models import DeadLetter, ParkedChange

from .confirmation import Consequence, ask, back, confirmed
from .visibility import OperatorAdmin, actor, visible_streams

__all__ = ["DeadLetterAdmin", "ParkedChangeAdmin", "pretty"]

_SHOWN_BYTES = 200_000
_LISTED = 50


def pretty(body: bytes) -> str:
    """A message's bytes as text that any page can show: indented where they are JSON, as they are otherwise."""
    cut = len(body) > _SHOWN_BYTES
    try:
        text = body.decode() if cut else json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    # Lone surrogates cannot be sent, and control characters cannot be seen.
    text = text[:_SHOWN_BYTES].encode("utf-8", "backslashreplace").decode()
    text = "".join(
        each if each.isprintable() or each in "\n\t" else repr(each)[1:-1] for each in text
    )
    return f"{text}\n… cut; {len(body):,} bytes in all" if cut else text


class _OfVisibleStreams(OperatorAdmin):
    """Rows that hang at a stream."""

    class Media:
        css = {"all": ["durable_state/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        return (
            super()
            .get_queryset(request)
            .filter(stream__in=visible_streams(request).order_by().values("pk"))
        )

    @admin.display(description="entity")
    def entity_key(self, obj: DeadLetter | ParkedChange) -> SafeString:
        return format_html(
            '<span class="ds-entity">{}</span> <code>{}</code>',
            _short(obj.type) or "-",
            _short(obj.key),
        )


@admin.register(DeadLetter)
class DeadLetterAdmin(_OfVisibleStreams):
    """Refused messages; tried again or discarded by actions."""

    list_display = ["ordinal", "stream", "entity_key", "reason_code", "short_detail", "when"]
    list_display_links = ["ordinal"]
    list_filter = ["reason", ("stream", admin.RelatedOnlyFieldListFilter)]
    list_select_related = ["stream"]
    search_fields = ["type", "key", "detail"]
    fields = ["stream", "ordinal", "type", "key", "reason_code", "detail", "created_at", "message"]
    readonly_fields = ["reason_code", "message"]
    change_form_template = "durable_state/admin/letter.html"
    actions = ["retry", "discard"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        return super().get_queryset(request).filter(generation=0)

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
        return format_html('<pre class="ds-body">{}</pre>', pretty(bytes(letter.body)))

    @admin.display(description="reason", ordering="reason")
    def reason_code(self, letter: DeadLetter) -> SafeString:
        return format_html('<span class="ds-pill ds-warn">{}</span>', letter.reason)

    @admin.display(description="detail")
    def short_detail(self, letter: DeadLetter) -> SafeString:
        return format_html(
            '<span class="ds-error" title="{}">{}</span>', letter.detail, letter.detail
        )

    @admin.display(description="when", ordering="created_at")
    def when(self, letter: DeadLetter) -> str:
        moment = letter.created_at
        return f"{localtime(moment) if is_aware(moment) else moment:%Y-%m-%d %H:%M}"

    @admin.action(description="Retry", permissions=["operate"])
    def retry(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        if not confirmed(request):
            return self._ask(
                request,
                queryset,
                "retry",
                "The message is materialized again, the way it came; refused again, it stays.",
            )
        accepted, refused = operations.retry_all(queryset, actor=actor(request))
        if accepted:
            self.message_user(request, f"{accepted} accepted.", messages.SUCCESS)
        if refused:
            self.message_user(
                request,
                f"{refused} refused again, or superseded by a later change.",
                messages.WARNING,
            )
        return back(self, request)

    @admin.action(description="Discard", permissions=["operate"])
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        if not confirmed(request):
            return self._ask(
                request,
                queryset,
                "discard",
                "The letter is deleted. Its message stays in the stream.",
                danger=True,
            )
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
        return ask(
            self,
            request,
            action=verb,
            title=f"{verb.title()} {'a dead letter' if count == 1 else f'{count} dead letters'}?",
            consequences=[
                Consequence(
                    f"{each.stream.name}, message {each.ordinal:,}: {_short(each.type)} {_short(each.key)}",
                    [each.reason, effect],
                )
                for each in queryset.select_related("stream")[:_LISTED]
            ],
            more=max(count - _LISTED, 0),
            button=f"Yes, {verb}",
            danger=danger,
        )


@admin.register(ParkedChange)
class ParkedChangeAdmin(_OfVisibleStreams):
    """Entities that the stream holds and the tables cannot show yet. Nothing to do but to look."""

    list_display = ["ordinal", "stream", "entity_key", "reason", "detail", "hidden", "created_at"]
    list_display_links = ["ordinal"]
    list_filter = ["reason", ("stream", admin.RelatedOnlyFieldListFilter)]
    list_select_related = ["stream"]
    search_fields = ["type", "key", "detail"]
    fields = [
        "stream",
        "ordinal",
        "type",
        "key",
        "reason",
        "detail",
        "hidden",
        "created_at",
        "prepared_values",
    ]
    readonly_fields = ["prepared_values"]

    @admin.display(description="prepared")
    def prepared_values(self, parked: ParkedChange) -> SafeString:
        return format_html('<pre class="ds-body">{}</pre>', pretty(bytes(parked.prepared)))


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
