"""Text tables for terminals."""

from __future__ import annotations

from collections.abc import Sequence

from durable_state.operations.account import counted

__all__ = ["counted", "printable", "span", "table"]


def printable(text: str, width: int = 0) -> str:
    """``text`` on one line, without characters that a terminal would obey, cut to ``width`` where one is given."""
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return shown if not width or len(shown) <= width else shown[: width - 1] + "…"


def table(
    heads: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[int] = ()
) -> list[str]:
    """Aligned lines under ``heads``; the columns in ``right`` are aligned to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [
        max(len(row[column]) for row in [list(heads), *cells]) for column in range(len(heads))
    ]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [list(heads), *cells]
    ]


def span(seconds: float) -> str:
    """A length of time, short: ``0 s``, ``1.5 s``, ``12 min``, ``3 h``, ``2 d``."""
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds % 1 else f"{seconds:.0f} s"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
