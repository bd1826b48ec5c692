"""Why messages are refused, in words, and what to do about it."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from durable_state.models import DeadLetter

__all__ = ["Reason", "reason_of"]


class Reason(NamedTuple):
    """A reason code, for people."""

    words: str | Promise
    advice: str | Promise


_WRITER = _("The stream's writer sent something that is not a message. Discard it.")
_MAPPING = _("Fix the mapping or the column, then retry; or have the writer send it again.")
_DATABASE = _("Fix what the database objects to, then retry.")

_MALFORMED = {
    "not-an-object": Reason(_("not an object"), _WRITER),
    "no-type": Reason(_("no type"), _WRITER),
    "no-key": Reason(_("no key"), _WRITER),
    "no-operation": Reason(_("no operation"), _WRITER),
    "unknown-operation": Reason(_("unknown operation"), _WRITER),
    "unknown-control": Reason(_("unknown control"), _WRITER),
    "bad-headers": Reason(_("headers cannot be read"), _WRITER),
    "bad-json": Reason(_("cannot be decoded"), _WRITER),
}
_REFUSED = {
    "no-value": Reason(_("no value"), _MAPPING),
    "not-an-object": Reason(_("value is not an object"), _MAPPING),
    "bad-value": Reason(_("value cannot be decoded"), _MAPPING),
    "key": Reason(_("key does not fit"), _MAPPING),
    "type": Reason(_("wrong type of value"), _MAPPING),
    "null": Reason(_("null where none is allowed"), _MAPPING),
    "nul": Reason(_("contains a NUL character"), _MAPPING),
    "invalid": Reason(_("invalid"), _MAPPING),
    "too-long": Reason(_("too long"), _MAPPING),
    "range": Reason(_("out of range"), _MAPPING),
    "precision": Reason(_("too many digits"), _MAPPING),
    "integrity": Reason(_("violates a constraint"), _DATABASE),
    "data": Reason(_("refused by the database"), _DATABASE),
    "field": Reason(_("the field failed"), _("Fix the field's code, then retry.")),
    "failed": Reason(
        _("the worker failed"), _("See the worker's log; report it if it looks like a bug.")
    ),
    "protected": Reason(
        _("protected by other rows"),
        _("Remove the rows that protect it. Retrying automatically."),
    ),
}


def reason_of(letter: DeadLetter) -> Reason:
    """Returns label and advice for a reason code; a project's own code is its own label."""
    known = _MALFORMED if letter.is_malformed else _REFUSED
    words = Reason(letter.reason, _("Fix the mapping's prepare() or the data, then retry."))
    return known.get(letter.reason, words)
