"""What one stream's page shows, and how a report reads in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpRequest

from durable_state import operations
from durable_state.models import Intent, Lease, Stream
from durable_state.operations import StreamReport
from durable_state.operations.wording import span
from durable_state.policy import Insight
from durable_state.registry import registry

from .states import STATES
from .stream_verifications import shown_verifications

if TYPE_CHECKING:
    from .visibility import OperatorAdmin

__all__ = ["shown", "stream_page"]

_DISPOSITIONS = (
    ("applied", "applied", "in the rows, or outdated by a later one"),
    ("no_row", "no row", "the mapping's prepare gave none"),
    ("parked", "parked", "had to wait when they came"),
    ("dead_letters", "dead letters", "refused when they came"),
    ("unregistered", "unregistered", "of types without a mapping"),
    ("control", "control", "snapshot boundaries and resets"),
    ("superseded", "superseded", "by a snapshot or reset, before they were shown"),
    ("staged", "staged", "in an open snapshot or rebuild"),
)


def shown(report: StreamReport) -> dict[str, str]:
    """The cells of a report, as text.

    ``tone`` says how urgent its status is, ``state`` which it is; both choose colours.
    """
    return {
        "status": report.status.replace("-", " "),
        "state": report.status,
        "tone": _tone(report),
        "lag": span(report.lag_seconds),
        "rate": _number(report.headway.rate),
        "ordinal": f"{report.ordinal:,}",
        "revision": f"{report.revision:,}",
        "applied": f"{report.applied:,}",
        "parked": f"{report.parked:,}",
        "letters": f"{report.dead_letters:,}",
        "other": f"{report.account.others:,}",
        "account": str(report.account),
        "error": report.why or report.last_error,
        "action": report.action,
        "alert": _alert(report),
        **{f"{name}_count": f"{getattr(report.account, name):,}" for name, _, _ in _DISPOSITIONS},
    }


def stream_page(model_admin: OperatorAdmin, request: HttpRequest, stream: Stream) -> dict[str, Any]:
    """The template's context for one stream."""
    report = operations.report(stream)

    # What became of its messages: a bar for each disposition.
    counters = [
        (name, label, about, getattr(report.account, name)) for name, label, about in _DISPOSITIONS
    ]
    total = sum(count for *_, count in counters)

    # Its types: those that came, and those that are mapped.
    states = {each.type: each for each in stream.types.all()}
    mappings = {mapping.entity_type: mapping for mapping in registry.for_stream(stream.name)}
    types = [
        (
            name,
            mappings.get(name),
            states.get(name),
            name in states and operations.needs_reset(states[name], stream.name),
        )
        for name in sorted({*states, *mappings})
    ]

    return {
        "title": stream.name,
        "subtitle": None,
        "report": report,
        "shown": shown(report),
        "offer": STATES[report.status].offer,
        "progress": _progress(report),
        "verifications": shown_verifications(request, stream),
        "error_detail": _error_detail(request, stream, report),
        "since": report.since,
        "counters": [
            (f"{name}_count", label, about, f"{count:,}", 100 * count / total if total else 0)
            for name, label, about, count in counters
        ],
        "counted": f"{total:,}",
        "adds_up": total == report.account.messages,
        "lease": Lease.objects.using(stream.using)
        .select_related("seat")
        .filter(stream=stream)
        .first(),
        "generations": [each for each in (stream.rebuild, stream.snapshot) if each is not None],
        # What the line below the status says already is not said again.
        "misfits": [each for each in report.misfits if each not in report.why],
        "tables": [owner.model for owner in stream.tables.all()],
        "types": types,
        "intents": Intent.objects.using(stream.using).filter(stream_name=stream.name)[:10],
        "may_operate": model_admin.has_operate_permission(request),
        "may_retire": model_admin.has_retire_permission(request),
    }


def _progress(report: StreamReport) -> str:
    """How far a reset is, and when it will be there."""
    told = report.headway
    if report.replayed is None or not told.total:
        return ""
    left = "" if told.seconds_left is None else f", {span(told.seconds_left)} left"
    return f"{told.done:,} of {told.total:,} messages ({100 * told.done // told.total} %){left}"


def _number(rate: float) -> str:
    return f"{rate:.1f}" if 0 < rate < 9.95 else f"{rate:,.0f}"


def _error_detail(request: HttpRequest, stream: Stream, report: StreamReport) -> str:
    """What quotes rows of the error, for those who see them."""
    if not report.last_error_detail:
        return ""
    sees = Insight(request.user, stream).sees_all(report.last_error_type)
    return report.last_error_detail if sees else ""


def _tone(report: StreamReport) -> str:
    tone = STATES[report.status].tone
    # Stuck, though the status alone sounds well: a snapshot stays open.
    return "warn" if report.stuck and tone in ("good", "busy", "quiet") else tone


def _alert(report: StreamReport) -> str:
    """The colour of what is said below the status: red only where a person has to act."""
    if report.stuck:
        return "bad" if _tone(report) == "bad" else "warn"
    return "warn" if report.misfits or report.last_error else "quiet"
