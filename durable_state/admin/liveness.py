"""What a page of rows says of the streams that they come from: "Live" only where it is true."""

from __future__ import annotations

from collections.abc import Iterable

from durable_state import operations
from durable_state.models import Stream
from durable_state.operations import StreamReport

from .states import STATES

__all__ = ["liveness"]

_TEXTS = {
    "live": "Live",
    "closed": "Complete: {name} is closed",
    "up-to-date": "Not live: {why}",
    "waiting": "Waiting until the server of {name} rings",
    "catching-up": "Catching up with {name}",
    "rebuilding": "Rebuilding {name}; these rows stay until it is done",
    "snapshot-open": "{name} sends a snapshot; these rows stay until it is complete",
    "new": "Nothing of {name} was read yet",
    "paused": "Not live: {name} is paused",
    "lagging": "Behind: {why}",
    "no-worker": "Not live: no worker reads {name}",
    "unmapped": "Not live: nothing of {name} is mapped",
    "retrying": "Not live: {name} cannot be read; trying again",
    "missing": "Not live: the server has no stream {name}",
    "needs-reset": "Not live: {name} needs a reset",
    "halted": "Not live: {name} has halted",
}
_WORST_FIRST = ["bad", "warn", "quiet", "busy", "good"]


def liveness(streams: Iterable[Stream]) -> dict[str, str]:
    """``tone`` and ``text`` of these streams together: of the one that is worst off.

    It says nothing that a person who sees the rows must not know.
    """
    known = list(streams)
    using = known[0].using if known else "default"
    found = operations.reports(using, pks=[each.pk for each in known], count_to=0)
    if not found:
        return {"tone": "quiet", "text": "No stream writes these rows"}
    worst = min(found.values(), key=lambda report: _WORST_FIRST.index(STATES[report.status].tone))
    return {"tone": STATES[worst.status].tone, "text": _text(worst)}


def _text(report: StreamReport) -> str:
    why = f"{report.name} is {report.why.split(';')[0]}"
    return _TEXTS[report.status].format(name=report.name, why=why)
