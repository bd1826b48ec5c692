"""Text tables for terminals."""

from __future__ import annotations

from collections.abc import Sequence

from durable_state.operations.wording import visible

__all__ = ["one_line", "table"]


def one_line(text: str, width: int = 0) -> str:
    """Returns ``text`` on one line, with control characters escaped, cut to ``width`` if given."""
    shown = visible(text)
    return shown if not width or len(shown) <= width else f"{shown[: width - 1]}…"


def table(
    heads: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[int] = ()
) -> list[str]:
    """Returns aligned lines under ``heads``; the columns in ``right`` are aligned to the right."""
    lines = [list(heads), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def aligned(line: list[str]) -> str:
        cells = zip(line, widths, strict=True)
        return "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(cells)
        ).rstrip()

    return [aligned(line) for line in lines]
