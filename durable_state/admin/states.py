"""The shown statuses in the admin: how urgent each is, and the verb that is offered beside it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["STATES", "Offer"]


class Offer(NamedTuple):
    """A verb, and what its button says."""

    verb: str
    label: str


class _State(NamedTuple):
    tone: str
    """``good``, ``busy``, ``quiet``, ``warn`` or ``bad``. Each status has a colour of its own
    besides, by its name, in admin.css.
    """
    offer: Offer | None = None
    """What usually helps."""


_TRY_NOW = Offer("resume", "Try again now")

STATES = {
    "live": _State("good"),
    "closed": _State("good"),
    "up-to-date": _State("quiet"),
    "waiting": _State("quiet"),
    "catching-up": _State("busy"),
    "rebuilding": _State("busy"),
    "snapshot-open": _State("busy"),
    "new": _State("quiet"),
    "paused": _State("quiet", Offer("resume", "Resume")),
    "lagging": _State("warn"),
    "no-worker": _State("warn"),
    "unmapped": _State("warn", Offer("reset", "Reset, once it is mapped")),
    "retrying": _State("warn", _TRY_NOW),
    "missing": _State("warn", _TRY_NOW),
    "needs-reset": _State("bad", Offer("reset", "Reset")),
    "halted": _State("bad", Offer("resume", "Resume")),
}
"""By status."""
