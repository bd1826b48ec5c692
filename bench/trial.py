"""What the command needs of each kind of measurement."""

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
    """One kind of measurement, on one database after another."""

    def run(self, alias: str) -> None:
        """Measures on that database and reports progress, unless the measurement is not meant
        for it.
        """

    def tables(self) -> list[str]:
        """The results, as blocks of Markdown."""

    def aims(self) -> Iterator[Aim]:
        """The results compared with the targets."""

    def measured(self) -> Any:
        """The results, for JSON."""


class Series(Generic[T]):
    """The base of a trial that makes one finding after another."""

    def __init__(self, options: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
        self.options = options
        self.found: list[T] = []

    def note(self, done: T, told: str) -> None:
        """Keeps a finding, and prints it."""
        print(told, flush=True)
        self.found.append(done)

    def measured(self) -> Any:
        """All findings."""
        return self.found
