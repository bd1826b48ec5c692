"""What a thread stands still in: found by looking at it, since code that hangs cannot say so.

A thread moves as long as the calls that it makes come to their ends. Two looks that find it in the
same call of the project's code, or of the database's driver, tell how long that has taken by now;
nothing is counted where the work is done.

Why: decision 53.
"""

from __future__ import annotations

import enum
import sys
from types import FrameType
from typing import NamedTuple, Self

import django.db

from durable_state.errors import DurableStateError

from .left_alone import Thread

__all__ = [
    "CallStandsStill",
    "Callee",
    "DatabaseStandsStill",
    "OpenCall",
    "OutOfTime",
    "StandsStill",
    "find_open_call",
]

_DRIVERS = ("django.db.backends.", "psycopg.", "psycopg2.", "psycopg_pool.", "MySQLdb.")
_PASSED_OVER = frozenset({"durable_state", "django", *sys.stdlib_module_names})
"""Packages whose functions take as long as what they call, which is looked at instead."""


class StandsStill(DurableStateError):
    """A thread has been in one call for too long: nobody waits for it any more."""

    thread: Thread | None = None
    """The one that is left in the call."""


class CallStandsStill(StandsStill):
    """The call is of the project's own code."""

    function = ""
    """Its dotted name."""

    @classmethod
    def of(cls, name: str, seconds: float) -> Self:
        """What is said of the function with that dotted name after so many seconds."""
        error = cls(
            f"{name} has not returned for {seconds:g} s.",
            f"Find out what {name} waits for, and restart the worker: while it waits, this process"
            " leaves the stream to others.",
        )
        error.function = name
        return error


class DatabaseStandsStill(StandsStill, django.db.OperationalError):
    """It is of the database; to whoever does not look closer, an outage as any other."""


class OutOfTime(StandsStill):
    """The process is to end; what it could not finish is rolled back, and done by another."""


class Callee(enum.Enum):
    """Whose code is called."""

    PROJECT = "the project's, or of a package that we do not know"
    DATABASE = "the database's driver"


class OpenCall(NamedTuple):
    """A call that a thread has made, and that has not come to its end."""

    frame: FrameType
    """Of this very call: the next one of the same function has another."""

    callee: Callee

    name: str
    """The function's dotted name."""

    def error(self, seconds: float) -> StandsStill:
        """What is said of it after so many seconds."""
        seconds = round(seconds)
        if self.callee is Callee.DATABASE:
            return DatabaseStandsStill(
                f"The database has not answered for {seconds:g} s.",
                "Check whether something drops its connections; a new one is opened.",
            )
        return CallStandsStill.of(self.name, seconds)


def find_open_call(thread: int | None) -> OpenCall | None:
    """The call of the project's code, or of the driver, that the thread is in.

    Of which of them, its innermost function tells: a driver calls back into the project, and a
    package that watches statements calls the driver. None where it is in neither: our own code
    moves on by itself.
    """
    found: OpenCall | None = None
    frame = sys._current_frames().get(thread or 0)
    while frame is not None:
        module = frame.f_globals.get("__name__") or ""
        callee = _callee_of(module)
        if callee is not None and (found is None or found.callee is callee):
            found = OpenCall(frame, callee, f"{module}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    return found


def _callee_of(module: str) -> Callee | None:
    if f"{module}.".startswith(_DRIVERS):
        return Callee.DATABASE
    return None if module.partition(".")[0] in _PASSED_OVER else Callee.PROJECT
