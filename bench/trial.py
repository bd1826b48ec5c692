"""What each kind of measurement is for the command."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from .aims import Aim

__all__ = ["Series", "Trial"]

T = TypeVar("T")


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


class Series(Generic[T]):
    """The beginning of a trial that finds one thing after the other."""

    def __init__(self, options: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
        self.options = options
        self.found: list[T] = []

    def note(self, done: T, told: str) -> None:
        """Keeps what was found, and says it."""
        print(told, flush=True)
        self.found.append(done)

    def measured(self) -> Any:
        """All that was found."""
        return self.found
