"""The cells of the list of streams, each of which the open page fetches again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from durable_state.operations import StreamReport
from durable_state.operations.wording import capitalised, number, span

from .paging import at_most
from .states import STATES, pill
from .stream_progress import bar, courses

__all__ = ["CELLS", "LABELS", "alert_tone", "cell", "rate", "status_pill"]


def status_pill(report: StreamReport) -> SafeString:
    """Renders the status, in amber if the stream is stuck although its status sounds harmless."""
    return pill(report.status, _tone(report))


def _tone(report: StreamReport) -> str:
    tone = STATES[report.status].tone
    # Stuck, though its status alone sounds harmless: a snapshot stays open.
    return "warn" if report.stuck and tone in ("good", "busy", "quiet") else tone


def alert_tone(report: StreamReport) -> str:
    """The colour of the text below the status: red only if a person has to act."""
    if report.stuck:
        return "bad" if _tone(report) == "bad" else "warn"
    return "warn" if report.misfits or report.last_error else "quiet"


def rate(per_second: float) -> str:
    """``0``, ``1.5``, ``1,200``."""
    return number(per_second, 1 if 0 < per_second < 9.95 else 0)


def _state(report: StreamReport) -> SafeString:
    under_way = format_html_join(
        "",
        '<span class="ds-course">{}<span>{}</span></span>',
        ((bar(each), each.told) for each in courses(report)),
    )
    return format_html(
        '{}{}<span class="ds-error">{}</span><span class="ds-action">{}</span>',
        status_pill(report),
        under_way,
        capitalised(report.why or report.last_error),
        report.action,
    )


def _speed(report: StreamReport, sparkline: SafeString) -> SafeString:
    return format_html("{}<b>{}</b>", sparkline, rate(report.headway.rate))


def _waiting(count: int, tone: str) -> SafeString:
    if not count:
        return format_html('<span class="ds-zero">{}</span>', 0)
    return format_html('<span class="ds-count ds-{}">{}</span>', tone, at_most(count))


CELLS: dict[str, Callable[[StreamReport, Any], Any]] = {
    "state": lambda report, spark: _state(report),
    "speed": _speed,
    "lag": lambda report, spark: span(report.lag_seconds),
    "read": lambda report, spark: format_html(
        '<span title="{}">{}</span>', report.account, number(report.ordinal)
    ),
    "letters": lambda report, spark: _waiting(report.dead_letters, "bad"),
    "parked": lambda report, spark: _waiting(report.parked, "warn"),
    "other": lambda report, spark: format_html(
        '<span title="{}">{}</span>', report.account, number(report.account.others)
    ),
}
"""Renders a cell from a report and its sparkline, by the cell's name."""


LABELS = {
    "speed": _("messages/s"),
    "lag": _("lag"),
    "read": _("messages"),
    "letters": _("dead letters"),
    "parked": _("parked"),
    "other": _("other"),
}
"""Labels of the numbers, for lists too narrow for a header row."""


def cell(pk: int, name: str, report: StreamReport | None, spark: Any) -> SafeString:
    """Renders one cell, named so that scripts can replace it."""
    content = "" if report is None else CELLS[name](report, spark)
    if name not in LABELS:
        return format_html('<div data-part="{}-{}">{}</div>', pk, name, content)
    return format_html(
        '<div class="ds-number" data-part="{}-{}"><span class="ds-label">{}</span>{}</div>',
        pk,
        name,
        LABELS[name],
        content,
    )
