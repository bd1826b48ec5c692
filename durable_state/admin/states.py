"""The shown statuses in the admin: what each is called and means, how urgent it is, and the verb
that is offered beside it.
"""

from __future__ import annotations

from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

__all__ = ["STATES", "Offer", "pill"]


class Offer(NamedTuple):
    """A verb and the label of its button."""

    verb: str
    label: str | Promise


class _State(NamedTuple):
    tone: str
    """``good``, ``busy``, ``quiet``, ``warn`` or ``bad``. Each status has a colour of its own
    besides, by its name, in admin.css.
    """
    label: str | Promise
    meaning: str | Promise
    offer: Offer | None = None
    """What usually helps."""


_TRY_NOW = Offer("resume", _("Try again now"))
_RESUME = Offer("resume", _("Resume"))

STATES = {
    "live": _State("good", _("live"), _("A worker follows the stream; rows are up to date.")),
    "closed": _State(
        "good", _("closed"), _("The stream is complete; nothing will be added to it.")
    ),
    "up-to-date": _State("quiet", _("up to date"), _("Read to its end; nobody follows it now.")),
    "waiting": _State("quiet", _("waiting"), _("Up to date; read again when its server rings.")),
    "catching-up": _State("busy", _("catching up"), _("Old messages are being read.")),
    "rebuilding": _State(
        "busy",
        _("rebuilding"),
        _("Being read again from its start; the old rows stay until that is done."),
    ),
    "snapshot-open": _State(
        "busy",
        _("snapshot open"),
        _("The stream is sending a snapshot; the old rows stay until it is complete."),
    ),
    "new": _State("quiet", _("new"), _("Nothing has been read yet.")),
    "paused": _State("quiet", _("paused"), _("Somebody has paused it."), _RESUME),
    "lagging": _State("warn", _("lagging"), _("The rows are behind the stream.")),
    "no-worker": _State("warn", _("no worker"), _("No worker reads it.")),
    "unmapped": _State(
        "warn",
        _("unmapped"),
        _("Messages arrive, but none of their types has a mapping."),
        Offer("reset", _("Reset, once it is mapped")),
    ),
    "retrying": _State(
        "warn", _("retrying"), _("Reading fails; retrying automatically."), _TRY_NOW
    ),
    "missing": _State(
        "warn", _("missing"), _("The server has no such stream; retrying automatically."), _TRY_NOW
    ),
    "needs-reset": _State(
        "bad",
        _("needs reset"),
        _("The rows will only be right once it is read again from its start."),
        Offer("reset", _("Reset")),
    ),
    "halted": _State("bad", _("halted"), _("An error has stopped it; it waits for you."), _RESUME),
}
"""Tone, label, meaning and usual remedies of each shown status."""


def pill(status: str, tone: str = "") -> SafeString:
    """Renders the status as a coloured label, with its meaning as a tooltip."""
    state = STATES[status]
    return format_html(
        '<span class="ds-pill ds-{} ds-is-{}" title="{}">{}</span>',
        tone or state.tone,
        status,
        state.meaning,
        state.label,
    )
