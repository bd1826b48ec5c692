"""Texts as every database, terminal and page takes them."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str, longest: int | None = None) -> str:
    """``text`` with escapes for NUL and lone surrogates, which not every database holds.

    It is cut where it has more than ``longest`` characters.
    """
    shown = text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
    return shown if longest is None or len(shown) <= longest else f"{shown[:longest]}…"
