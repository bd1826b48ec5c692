"""How counts, spans of time and foreign texts read, wherever they are shown."""

from __future__ import annotations

from django.utils.formats import number_format
from django.utils.text import capfirst
from django.utils.translation import get_language

__all__ = ["capitalised", "counted", "number", "span", "visible"]

_UNITS = (("d", 86400), ("h", 3600), ("min", 60))


def number(value: float, places: int = 0) -> str:
    """``1,200``, or ``1.5`` with one of the ``places``, as the reader's language writes it.

    As English does where no language is active: on the command line.
    """
    if get_language() is None:
        return f"{value:,.{places}f}"
    return str(number_format(round(value, places), places, force_grouping=True))


def counted(number: int, noun: str) -> str:
    """``1 message``, ``2,000 messages``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def span(seconds: float) -> str:
    """A length of time, short: ``0 s``, ``1.5 s``, ``12 min``, ``3 h``, ``2 d``."""
    for unit, size in _UNITS:
        if seconds >= 2 * size:
            return f"{number(seconds / size)} {unit}"
    is_short = seconds < 10 and seconds % 1
    return f"{number(seconds, 1 if is_short else 0)} s"


def capitalised(text: str) -> str:
    """The text with a capital, unless it begins with what is written as it is, such as a URL."""
    first = text.split(maxsplit=1)[:1]
    return capfirst(text) if first and first[0].rstrip(":;,.").isalpha() else text


def visible(text: str, *, keep: str = "") -> str:
    """``text`` with an escape for each character that cannot be seen, but for those of ``keep``.

    No terminal obeys such a text, and no page is broken by it.
    """
    return "".join(
        each if each.isprintable() or each in keep else repr(each)[1:-1] for each in text
    )
