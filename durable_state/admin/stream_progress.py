"""Work in progress on a stream: how far it is, and how long it will take."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from durable_state.operations import StreamReport
from durable_state.operations.wording import number, span

__all__ = ["Course", "bar", "courses"]


class Course(NamedTuple):
    """One piece of work in progress."""

    name: str
    told: str
    percent: float | None
    """None if the total is unknown."""
    cancel: str = ""
    """The verb that cancels it, if any."""


def courses(report: StreamReport) -> list[Course]:
    """Lists the work in progress: a reset, a snapshot, catching up."""
    found = []
    if report.replayed is not None:
        found.append(_reset(report))
    elif report.status == "rebuilding":
        found.append(Course(_("Rebuild"), _staged(report), None))
    if report.status == "snapshot-open":
        found.append(Course(_("Snapshot"), _staged(report), None))
    if report.status == "catching-up" or (report.status == "new" and report.ordinal):
        told = _("%(done)s messages read; the server does not say how many there are")
        found.append(Course(_("Catching up"), told % {"done": number(report.ordinal)}, None))
    return found


def _reset(report: StreamReport) -> Course:
    told = report.headway
    total = told.total or 0
    percent = 100 * told.done / total if total else 0.0
    known = {
        "done": number(told.done),
        "total": number(total),
        "percent": min(round(percent), 99),
    }
    text = _("%(done)s of %(total)s messages (%(percent)s%%)") % known
    if told.seconds_left:
        text = _("%(text)s, about %(span)s left") % {
            "text": text,
            "span": span(told.seconds_left).replace(" ", "\u00a0"),
        }
    elif total and told.done >= total:
        text = _("%(text)s; replacing the rows") % {"text": text}
    return Course(_("Reset"), text, percent, "cancel_reset")


def _staged(report: StreamReport) -> str:
    told = _("%(count)s changes staged; they are shown all at once when it is complete")
    return told % {"count": number(report.account.staged)}


def bar(course: Course) -> SafeString:
    """Renders it as a progress bar, an indeterminate one if the total is unknown."""
    value = "" if course.percent is None else format_html(' value="{}"', f"{course.percent:.1f}")
    return format_html(
        '<progress class="ds-progress" max="100" aria-label="{}"{}></progress>', course.name, value
    )
