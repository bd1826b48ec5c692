"""Makes texts that every database, terminal and page can take."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str, longest: int | None = None) -> str:
    """``text`` with escapes for NUL and lone surrogates, which not every database holds.

    Anything beyond ``longest`` characters is cut off.
    """
    shown = text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
    return shown if longest is None or len(shown) <= longest else f"{shown[:longest]}…"
