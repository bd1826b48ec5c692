"""What a page of rows says about the streams behind them: "Live" only if it is true."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext_lazy as _

from durable_state import operations
from durable_state.models import Stream
from durable_state.operations import StreamReport

from .states import STATES

__all__ = ["liveness"]

_TEXTS = {
    "live": _("Live"),
    "closed": _("Complete: %(name)s is closed"),
    "up-to-date": _("Not live: %(name)s is %(why)s"),
    "waiting": _("Waiting until the server of %(name)s rings"),
    "catching-up": _("Catching up with %(name)s"),
    "rebuilding": _("Rebuilding %(name)s; these rows stay until it is done"),
    "snapshot-open": _("%(name)s is sending a snapshot; these rows stay until it is complete"),
    "new": _("Nothing of %(name)s has been read yet"),
    "paused": _("Not live: %(name)s is paused"),
    "lagging": _("Behind %(name)s: %(why)s"),
    "no-worker": _("Not live: no worker reads %(name)s"),
    "unmapped": _("Not live: nothing of %(name)s is mapped"),
    "retrying": _("Not live: %(name)s cannot be read; retrying automatically"),
    "missing": _("Not live: the server has no stream %(name)s"),
    "needs-reset": _("Not live: %(name)s needs a reset"),
    "halted": _("Not live: %(name)s has halted"),
}
_WORST_FIRST = ["bad", "warn", "quiet", "busy", "good"]


def liveness(streams: Iterable[Stream]) -> dict[str, str]:
    """``tone`` and ``text`` for these streams together, taken from the one that is worst off.

    It reveals nothing that a user who sees the rows may not know.
    """
    known = list(streams)
    using = known[0].using if known else "default"
    found = operations.reports(using, pks=[each.pk for each in known], count_to=0)
    if not found:
        return {"tone": "quiet", "text": str(_("No stream writes these rows"))}
    worst = min(found.values(), key=lambda report: _WORST_FIRST.index(STATES[report.status].tone))
    return {"tone": STATES[worst.status].tone, "text": _text(worst)}


def _text(report: StreamReport) -> str:
    told = {"name": report.name, "why": report.why.split(";")[0]}
    return str(_TEXTS[report.status]) % told
