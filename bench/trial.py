"""What each kind of measurement is for the command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from .aims import Aim

__all__ = ["Trial"]


class Trial(Protocol):
    """One kind of measurement, on one database after the other."""

    def run(self, alias: str) -> None:
        """Measures on that database, and says so as it goes, unless it is not meant for it."""

    def tables(self) -> list[str]:
        """What was found, as blocks of Markdown."""

    def aims(self) -> Iterator[Aim]:
        """What was found beside what was aimed at."""

    def measured(self) -> Any:
        """What was found, for JSON."""
