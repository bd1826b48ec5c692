"""Seats and leases in the admin: who consumes what."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import BooleanField, Case, Count, Q, QuerySet, Value, When
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from durable_state.databases.clock import ServerNow
from durable_state.models import Lease, Seat
from durable_state.operations.wording import number
from durable_state.policy import readable_streams

from .visibility import OperatorAdmin, labelled, moment, stream_link

__all__ = ["LeaseAdmin", "SeatAdmin"]


@admin.register(Seat)
class SeatAdmin(OperatorAdmin):
    """Running consumers; a seat is in force until it expires, and with it its leases."""

    list_display = ["name", "in_force", "streams", "room", "joined", "seen", "expires"]
    fields = ["name", "in_force", "streams", "room", "joined", "seen", "expires"]
    ordering = ["-pk"]

    class Media:
        css = {"all": ["durable_state/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> Any:
        readable = readable_streams(request.user).order_by().values("pk")
        is_over = Case(
            When(expires_at__lt=ServerNow(), then=Value(True)),
            default=Value(False),
            output_field=BooleanField(),
        )
        held = Count("leases", filter=Q(leases__stream__in=readable))
        return super().get_queryset(request).annotate(held=held, is_over=is_over)

    @admin.display(description=gettext_lazy("state"))
    def in_force(self, seat: Any) -> SafeString:
        if seat.is_vacant:
            tone, told = "busy", _("vacant: reserved for a task")
        elif seat.is_over:
            tone, told = "warn", _("expired")
        else:
            tone, told = "good", _("active")
        return format_html('<span class="ds-pill ds-{}">{}</span>', tone, told)

    @admin.display(description=gettext_lazy("streams"))
    def streams(self, seat: Any) -> SafeString:
        site = self.admin_site.name
        url = reverse("admin:durable_state_lease_changelist", current_app=site)
        link = format_html(
            '<a href="{}?seat__id__exact={}">{}</a>', url, seat.pk, number(seat.held)
        )
        return labelled(_("streams"), link)

    @admin.display(description=gettext_lazy("capacity"))
    def room(self, seat: Seat) -> SafeString:
        return labelled(_("capacity"), number(seat.capacity or 1))

    @admin.display(description=gettext_lazy("since"))
    def joined(self, seat: Seat) -> SafeString:
        return labelled(_("since"), moment(seat.joined_at))

    @admin.display(description=gettext_lazy("last seen"))
    def seen(self, seat: Seat) -> SafeString:
        return labelled(_("last seen"), moment(seat.seen_at))

    @admin.display(description=gettext_lazy("expires, unless renewed"))
    def expires(self, seat: Seat) -> SafeString:
        return labelled(_("expires, unless renewed"), moment(seat.expires_at))


@admin.register(Lease)
class LeaseAdmin(OperatorAdmin):
    """Which seat has which stream."""

    list_display = ["stream_link", "holder", "lags", "seen", "fencing_token"]
    list_display_links = None
    list_select_related = ["stream", "seat"]
    search_fields = ["stream__name"]
    lookups = frozenset({"seat__id__exact"})
    fields = ["stream_link", "holder", "lags", "seen", "fencing_token"]
    ordering = ["stream__name"]

    class Media:
        css = {"all": ["durable_state/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Lease]:
        readable = readable_streams(request.user).order_by().values("pk")
        return super().get_queryset(request).filter(stream__in=readable)

    @admin.display(description=gettext_lazy("stream"), ordering="stream__name")
    def stream_link(self, lease: Lease) -> SafeString:
        return stream_link(self, lease.stream)

    @admin.display(description=gettext_lazy("held by"), ordering="seat")
    def holder(self, lease: Lease) -> SafeString | str:
        if lease.seat is None:
            return _("nobody")
        site = self.admin_site.name
        url = reverse("admin:durable_state_seat_change", args=[lease.seat.pk], current_app=site)
        return format_html('<a href="{}"><code>{}</code></a>', url, lease.seat.name)

    @admin.display(description=gettext_lazy("lag"))
    def lags(self, lease: Lease) -> SafeString:
        return labelled(_("lag"), _told_lag(lease))

    @admin.display(description=gettext_lazy("last seen"))
    def seen(self, lease: Lease) -> SafeString:
        return labelled(_("last seen"), moment(lease.seen_at))

    @admin.display(description=gettext_lazy("fencing token"))
    def fencing_token(self, lease: Lease) -> SafeString:
        return labelled(_("fencing token"), lease.token)


def _told_lag(lease: Lease) -> str:
    if lease.lags_since is None:
        return _("none")
    known = {"since": moment(lease.lags_since), "why": lease.get_lags_because_display()}
    if not known["why"]:
        return _("since %(since)s") % known
    return _("since %(since)s: %(why)s") % known
