"""How counts, spans of time and foreign texts read, wherever they are shown."""

from __future__ import annotations

__all__ = ["counted", "span", "visible"]

_UNITS = (("d", 86400), ("h", 3600), ("min", 60))


def counted(number: int, noun: str) -> str:
    """``1 message``, ``2,000 messages``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def span(seconds: float) -> str:
    """A length of time, short: ``0 s``, ``1.5 s``, ``12 min``, ``3 h``, ``2 d``."""
    for unit, size in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    is_short = seconds < 10 and seconds % 1
    return f"{seconds:.1f} s" if is_short else f"{seconds:.0f} s"


def visible(text: str, *, keep: str = "") -> str:
    """``text`` with an escape for each character that cannot be seen, but for those of ``keep``.

    No terminal obeys such a text, and no page is broken by it.
    """
    return "".join(
        each if each.isprintable() or each in keep else repr(each)[1:-1] for each in text
    )
