"""What one stream's page shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from durable_state import operations
from durable_state.models import Intent, Lease, Stream, TypeState
from durable_state.operations import StreamReport
from durable_state.operations.wording import capitalised, number, span
from durable_state.policy import Insight
from durable_state.registry import EntityMapping, registry

from .charts import hour_charts
from .intents import told_verb
from .paging import COUNTED, at_most
from .states import STATES
from .stream_cells import alert_tone, rate, status_pill
from .stream_progress import bar, courses
from .stream_verifications import shown_verifications

if TYPE_CHECKING:
    from .visibility import OperatorAdmin

__all__ = ["stream_page"]

_DISPOSITIONS: tuple[tuple[str, str | Promise, str | Promise], ...] = (
    ("applied", _("applied"), _("in the rows, or replaced by a later change")),
    ("no_row", _("no row"), _("the mapping's prepare() returned None")),
    ("parked", _("parked"), _("had to wait when they arrived")),
    ("dead_letters", _("dead letters"), _("refused when they arrived")),
    ("unregistered", _("skipped"), _("of types without a mapping")),
    ("control", _("control"), _("snapshot boundaries and resets")),
    ("superseded", _("superseded"), _("replaced by a snapshot or reset before they were shown")),
    ("staged", _("staged"), _("in an open snapshot or rebuild")),
)


class _Type(NamedTuple):
    """One entity type of the stream."""

    name: str
    mapping: EntityMapping | None
    state: TypeState | None
    is_old: bool
    rows_url: str
    """The address of its rows in the admin; empty if they are not registered there."""


class _Counter(NamedTuple):
    """One disposition."""

    label: str | Promise
    about: str | Promise
    number: str
    share: float


def stream_page(model_admin: OperatorAdmin, request: HttpRequest, stream: Stream) -> dict[str, Any]:
    """The template context for one stream, read at a single moment."""
    stream.refresh_from_db(using=stream.using)
    report = operations.report(stream, count_to=COUNTED)
    counters = _counters(report)
    total = sum(getattr(report.account, name) for name, _label, _about in _DISPOSITIONS)
    intents = Intent.objects.using(stream.using).filter(stream_name=stream.name)
    leases = Lease.objects.using(stream.using).select_related("seat")
    return {
        "title": stream.name,
        "subtitle": None,
        "report": report,
        "pill": status_pill(report),
        "meaning": STATES[report.status].meaning,
        "alert": alert_tone(report),
        "error": capitalised(report.why or report.last_error),
        "error_detail": _error_detail(request, stream, report),
        "offer": STATES[report.status].offer,
        "courses": [(each, bar(each)) for each in courses(report)],
        "charts": hour_charts(stream.using, stream.pk),
        "figures": {
            "ordinal": number(report.ordinal),
            "rate": rate(report.headway.rate),
            "lag": span(report.lag_seconds),
            "revision": number(report.revision),
            "parked": at_most(report.parked),
            "letters": at_most(report.dead_letters),
        },
        "counters": counters,
        "counted": number(total),
        "adds_up": total == report.account.messages,
        "lease": leases.filter(stream=stream).first(),
        "replayed": None if report.replayed is None else number(report.replayed),
        "generations": [
            (each, number(each.changes))
            for each in (stream.rebuild, stream.snapshot)
            if each is not None
        ],
        # Do not repeat what the line below the status says.
        "misfits": [each for each in report.misfits if each not in report.why],
        "tables": [owner.model for owner in stream.tables.all()],
        "types": _types(model_admin, request, stream),
        "verifications": shown_verifications(request, stream),
        "intents": [(each, told_verb(each)) for each in intents[:10]],
        "may_operate": model_admin.has_operate_permission(request),
        "may_retire": model_admin.has_retire_permission(request),
    }


def _counters(report: StreamReport) -> list[_Counter]:
    counts = [getattr(report.account, name) for name, _label, _about in _DISPOSITIONS]
    total = sum(counts)
    return [
        _Counter(label, about, number(count), 100 * count / total if total else 0.0)
        for (_name, label, about), count in zip(_DISPOSITIONS, counts, strict=True)
    ]


def _types(model_admin: OperatorAdmin, request: HttpRequest, stream: Stream) -> list[_Type]:
    """Lists the types that have arrived or are mapped."""
    states = {each.type: each for each in stream.types.all()}
    mappings = {mapping.entity_type: mapping for mapping in registry.for_stream(stream.name)}
    return [
        _Type(
            name,
            mappings.get(name),
            states.get(name),
            name in states and operations.needs_reset(states[name], stream.name),
            _rows_url(model_admin, request, mappings.get(name)),
        )
        for name in sorted({*states, *mappings})
    ]


def _rows_url(
    model_admin: OperatorAdmin, request: HttpRequest, mapping: EntityMapping | None
) -> str:
    if mapping is None:
        return ""
    site, meta = model_admin.admin_site, mapping.model._meta
    registered = site._registry.get(mapping.model)
    if registered is None or not registered.has_view_permission(request):
        return ""
    try:
        name = f"admin:{meta.app_label}_{meta.model_name}_changelist"
        return reverse(name, current_app=site.name)
    except NoReverseMatch:
        return ""


def _error_detail(request: HttpRequest, stream: Stream, report: StreamReport) -> str:
    """The part of the error that quotes rows, if the user may see these rows."""
    if not report.last_error_detail:
        return ""
    sees = Insight(request.user, stream).sees_all(report.last_error_type)
    return report.last_error_detail if sees else ""
