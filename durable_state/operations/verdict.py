"""Judges how a stream fares: its status, whether it waits for a person, why, and what to do.

Why: decision 36.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from durable_state.databases.row_locks import RowLock
from durable_state.models import FAILING, Lease, Status
from durable_state.registry import registry

from .account import LISTED
from .case import Case, Shown
from .wording import span

__all__ = ["Verdict", "judge"]

PATIENCE = 1.5
"""How many ``LEASE_SECONDS`` without a sign of life mean that nobody consumes a stream.

A slice that ends hands over sooner.
"""
URGENT = 0.25
"""A paused stream is stuck once less than this part of the time is left before its server drops it.
"""


class Verdict(NamedTuple):
    """What a person has to know first about a stream."""

    status: str
    stuck: bool
    """Whether it waits for a person."""
    why: str
    """The reason; may be empty if the stream is not stuck."""
    action: str
    """What to do; may be empty."""


def judge(case: Case) -> Verdict:
    """The verdict of the first rule that applies to the case."""
    for rule in _RULES:
        verdict = rule(case)
        if verdict is not None:
            return verdict
    why = "; ".join(filter(None, [case.stream.detour, _expires(case), *case.misfits]))
    return Verdict(case.plain_status, stuck=False, why=why, action=case.decisive.action)


def _is_paused(case: Case) -> Verdict | None:
    if not case.stream.paused:
        return None
    action = f"manage.py durable_state resume {case.stream.name}"
    why = "; ".join(filter(None, [_is_dropped_unread(case), _expires(case)]))
    left = case.seconds_to_live
    is_urgent = left is not None and left < URGENT * (case.stream.ttl_seconds or 0)
    return Verdict(Shown.PAUSED, stuck=is_urgent, why=why, action=action)


def _is_dropped_unread(case: Case) -> str:
    """When the server drops the stream if nobody reads it; "" if that is not known."""
    left = case.seconds_to_live
    if left is None:
        return ""
    ttl = span(case.stream.ttl_seconds or 0)
    known = {"ttl": ttl, "left": span(int(left))}
    if left > 0:
        told = _("its server drops it if nobody reads or writes it for %(ttl)s: in %(left)s")
    else:
        told = _(
            "its server drops it if nobody reads or writes it for %(ttl)s, and that has passed"
        )
    return told % known


def _expires(case: Case) -> str:
    """When the server drops the stream in any case; "" if that is not known."""
    when = case.stream.expires_at
    if when is None:
        return ""
    return _("its server drops it at %(when)s") % {"when": f"{when:%Y-%m-%d %H:%M %Z}".rstrip()}


def _has_stopped(case: Case) -> Verdict | None:
    """An error has stopped it, and only a person can continue."""
    decisive, name = case.decisive, case.stream.name
    if decisive.status == Status.HALTED:
        why = _("halted")
        action = _("Remove the cause, then: %(command)s") % {
            "command": f"manage.py durable_state resume {name}"
        }
    elif decisive.status == Status.NEEDS_RESET:
        why = _("the server no longer has what comes next")
        action = f"manage.py durable_state reset {name}"
    else:
        return None

    return Verdict(
        decisive.status,
        stuck=True,
        why=decisive.last_error or why,
        action=decisive.action or action,
    )


def _has_no_worker(case: Case) -> Verdict | None:
    """Nobody consumes it, although somebody should."""
    stream, attendance = case.stream, case.attendance
    is_complete = stream.status == Status.CLOSED or _was_left(case)
    if attendance.holder or (is_complete and case.replay is None):
        return None

    unattended = case.unattended
    if unattended > timedelta(seconds=PATIENCE * case.settings.lease_seconds):
        why = _("no worker for %(span)s") % {"span": _long(unattended)}
        why = "; ".join(filter(None, [why, case.decisive.last_error]))
        # What a worker said about its next attempt helps nobody while there is none.
        known = "" if case.decisive.status in FAILING else case.decisive.action
        action = known or case.start
        return Verdict(Shown.NO_WORKER, stuck=True, why=why, action=action)

    if stream.status == Status.NEW and attendance.idle is None:
        why = stream.last_error or _("no worker has taken it yet")
        return Verdict(stream.status, stuck=False, why=why, action=stream.action or case.start)
    return None


def _keeps_failing(case: Case) -> Verdict | None:
    """It is retried automatically; after a while a person should look."""
    decisive = case.decisive
    if decisive.status not in FAILING:
        return None

    if decisive.hangs_in:  # no retry will help
        return Verdict(decisive.status, stuck=True, why=decisive.last_error, action=decisive.action)

    failing = case.now - decisive.since
    if failing <= timedelta(seconds=case.settings.stuck_seconds):
        return Verdict(decisive.status, stuck=False, why="", action=decisive.action)
    known = {"span": _long(failing), "error": decisive.last_error}
    is_missing = decisive.status == Status.MISSING
    why = (
        _("missing for %(span)s: %(error)s") if is_missing else _("failing for %(span)s: %(error)s")
    )
    return Verdict(
        decisive.status,
        stuck=True,
        why=why % known,
        action=decisive.action or _("Check the stream server and the network in between."),
    )


def _needs_reset(case: Case) -> Verdict | None:
    """Messages of some types were skipped, or an older mapping made their rows."""
    types = case.outdated
    if not types or case.plain_status == Shown.REBUILDING:
        return None

    listed = ", ".join(types[:LISTED]) + (", ..." if len(types) > LISTED else "")
    of_type = f" --type {types[0]}" if len(types) == 1 else ""
    return Verdict(
        Status.NEEDS_RESET,
        stuck=True,
        why=_("needs a reset: %(types)s") % {"types": listed},
        action=f"manage.py durable_state reset {case.stream.name}{of_type}",
    )


def _is_open_for_too_long(case: Case) -> Verdict | None:
    """A snapshot or rebuild does not come to its end."""
    opened_by = (case.replay, case.stream.rebuild, case.stream.snapshot)
    for opened, (told, action) in zip(opened_by, _STAGED, strict=True):
        if opened is None:
            continue
        open_for = case.now - opened.created_at
        if open_for > timedelta(seconds=case.settings.snapshot_open_seconds):
            why = str(told) % {"span": _long(open_for)}
            return Verdict(case.plain_status, stuck=True, why=why, action=str(action))
    return None


_STAGED = (
    (
        gettext_lazy("a reset is open for %(span)s"),
        gettext_lazy("Check with `durable_state status` whether it still makes progress."),
    ),
    (
        gettext_lazy("a rebuild is open for %(span)s"),
        gettext_lazy("Check whether the stream's writer still appends its state."),
    ),
    (
        gettext_lazy("a snapshot is open for %(span)s"),
        gettext_lazy("Check whether the stream's writer still appends its snapshot-end."),
    ),
)
"""What is said, and what to do, of a reset, a rebuild and a snapshot that stay open."""


def _maps_nothing(case: Case) -> Verdict | None:
    """It was read to its tail, and none of its messages has met a mapping."""
    account, name = case.account, case.stream.name
    if case.plain_status not in (Status.LIVE, Status.CLOSED) or account.mapped:
        return None
    if not account.unregistered or any(state.fingerprint for state in case.types):
        return None

    mapped = ", ".join(f'"{each.entity_type}"' for each in registry.for_stream(name))
    known = {"mapped": mapped or _("none"), "command": f"manage.py durable_state reset {name}"}
    unmapped = _("nothing of it is mapped: %(account)s") % {"account": account}
    return Verdict(
        Shown.UNMAPPED,
        stuck=True,
        why="; ".join([unmapped, *case.misfits]),
        action=_(
            "Register a mapping for one of these types (mapped so far: %(mapped)s),"
            " then: %(command)s"
        )
        % known,
    )


def _waits_for_doorbell(case: Case) -> Verdict | None:
    """It was read to its tail, and is read again when its server rings."""
    doorbell = case.doorbell
    if doorbell is None:
        return None
    if doorbell.confirmed_at is None and doorbell.last_error:
        why = _("its server does not ring, so it is read now and then: %(error)s") % {
            "error": doorbell.last_error
        }
        return Verdict(Shown.WAITING, stuck=True, why=why, action=doorbell.action)
    if case.plain_status != Status.LIVE or case.attendance.holder:
        return None

    patience = timedelta(seconds=PATIENCE * case.settings.lease_seconds)
    if case.unheard is not None and case.unheard > patience:
        why = _("nobody has listened to its wake stream for %(span)s") % {
            "span": _long(case.unheard)
        }
        return Verdict(Shown.WAITING, stuck=True, why=why, action=case.start)

    known = {
        "as_of": _at(case.now - case.lag, case),
        "live": case.stream.get_live_display(),
        "rang": _at(doorbell.rung_at, case) if doorbell.rung_at else "",
    }
    if doorbell.rung_at:
        told = _("up to date as of %(as_of)s, waits for its %(live)s, which rang last at %(rang)s")
    else:
        told = _("up to date as of %(as_of)s, waits for its %(live)s")
    wakes = doorbell.wake_stream
    trouble = [doorbell.last_error, "" if wakes is None else wakes.last_error]
    why = "; ".join([told % known, *filter(None, trouble), *case.misfits])
    return Verdict(Shown.WAITING, stuck=False, why=why, action=doorbell.action)


def _is_not_followed(case: Case) -> Verdict | None:
    """A ``sync`` has read it to its tail, and nobody follows it."""
    if case.plain_status != Status.LIVE or not _was_left(case):
        return None

    known = {"as_of": _at(case.now - case.lag, case)}
    told = _("up to date as of %(as_of)s, nobody follows it") % known
    why = "; ".join([told, *case.misfits])
    return Verdict(Shown.UP_TO_DATE, stuck=False, why=why, action=case.start)


def _is_lagging(case: Case) -> Verdict | None:
    """It was live, but its rows have fallen behind, or nobody knows whether they have."""
    if not case.is_lagging:
        return None

    lag, because = case.lag, case.attendance.lags_because
    if not case.attendance.holder:
        idle = {"span": _long(case.attendance.idle or lag)}
        why, action = _("no worker for %(span)s") % idle, case.start
    elif case.lock is not None:
        why, action = _says_who_locks(case.lock, lag)
    else:
        told, advice = _LAGS.get(because, _LAGS[""])
        why, action = str(told) % {"span": _long(lag)}, str(advice)
    is_begun_anew = because == Lease.Lag.TAKEN
    is_long = lag > timedelta(seconds=case.settings.stuck_seconds)
    return Verdict(
        Shown.LAGGING,
        stuck=is_long and not is_begun_anew,
        why="; ".join([why, *case.misfits]),
        action=action,
    )


def _says_who_locks(lock: RowLock, lag: timedelta) -> tuple[str, str]:
    """Why it lags, and what to do, if a known transaction has locked its row."""
    program = f" ({lock.program})" if lock.program else ""
    known = {
        "lag": _long(lag),
        "session": lock.session,
        "user": f"{lock.user}{program}",
        "age": "" if lock.seconds is None else span(int(lock.seconds)),
        "command": lock.ending,
    }
    if lock.seconds is None:
        why = _(
            "what was read %(lag)s ago cannot be committed: session %(session)s of %(user)s has"
            " kept the stream's row locked"
        )
    else:
        why = _(
            "what was read %(lag)s ago cannot be committed: session %(session)s of %(user)s has"
            " kept the stream's row locked for %(age)s"
        )
    action = _(
        "End that transaction (a forgotten SELECT ... FOR UPDATE?), or its session: %(command)s"
    )
    return why % known, action % known


_LAGS: dict[str, tuple[str | Promise, str | Promise]] = {
    "": (
        gettext_lazy("its worker has shown no sign of life for %(span)s"),
        gettext_lazy("Check the worker: is it frozen, or cut off from the database?"),
    ),
    Lease.Lag.TAKEN: (
        gettext_lazy("up to date as of %(span)s ago; its worker has not reached the tail yet"),
        gettext_lazy("Nothing to do, unless it stays that way: then check the stream server."),
    ),
    Lease.Lag.COMMIT: (
        gettext_lazy("what was read %(span)s ago is not committed yet"),
        gettext_lazy("Check what the database, or the mapping's prepare(), waits for."),
    ),
    Lease.Lag.LOCKED: (
        gettext_lazy(
            "what was read %(span)s ago cannot be committed: another transaction keeps rows locked"
        ),
        gettext_lazy(
            "Find and end the transaction that is open for long"
            " (a forgotten SELECT ... FOR UPDATE?)."
        ),
    ),
    Lease.Lag.SILENCE: (
        gettext_lazy("nothing was heard from the server for %(span)s"),
        gettext_lazy("Check the stream server and the network in between."),
    ),
}
"""Why a stream lags, and what to do, by the reason that its holder gave."""


def _was_left(case: Case) -> bool:
    """Whether its last holder only had to read it to its tail, as ``sync`` does.

    A stream with a doorbell is left at its tail too, but will be read again.
    """
    was_left = case.attendance.left_at_tail and not case.attendance.holder
    return was_left and not case.stream.has_doorbell


_RULES: tuple[Callable[[Case], Verdict | None], ...] = (
    _is_paused,
    _has_stopped,
    _has_no_worker,
    _keeps_failing,
    _needs_reset,
    _is_open_for_too_long,
    _maps_nothing,
    _waits_for_doorbell,
    _is_not_followed,
    _is_lagging,
)
"""The first that has something to say decides."""


def _at(moment: datetime, case: Case) -> str:
    """The time of day, with the date where that is not clear."""
    is_lately = case.now - moment < timedelta(hours=12)
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return f"{local:{'%H:%M:%S' if is_lately else '%Y-%m-%d %H:%M'}}"


def _long(time: timedelta) -> str:
    """A length of time, without fractions of a second."""
    return span(int(time.total_seconds()))
