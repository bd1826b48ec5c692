"""Finds the call that a thread hangs in, from outside, since code that hangs cannot report it.

A thread makes progress as long as the calls it makes return. If two looks find it in the same call
of the project's code, or of the database driver, the time between them is how long that call has
taken. Nothing is counted where the work itself is done.

Why: decision 53.
"""

from __future__ import annotations

import enum
import sys
from types import FrameType
from typing import NamedTuple, Self

import django.db

from durable_state.errors import DurableStateError

from .left_to_others import Thread

__all__ = [
    "CallHangs",
    "Callee",
    "DatabaseCallHangs",
    "OpenCall",
    "OutOfTime",
    "ProjectCallHangs",
    "find_open_call",
]

_DRIVERS = ("django.db.backends.", "psycopg.", "psycopg2.", "psycopg_pool.", "MySQLdb.")
_PASSED_OVER = frozenset({"durable_state", "django", *sys.stdlib_module_names})
"""Packages whose functions take as long as what they call, which is looked at instead."""


class CallHangs(DurableStateError):
    """A thread has been in one call for too long, and nobody waits for it any longer."""

    thread: Thread | None = None
    """The thread that is still in the call."""


class ProjectCallHangs(CallHangs):
    """The call is in the project's own code."""

    function = ""
    """Its dotted name."""

    @classmethod
    def of(cls, name: str, seconds: float) -> Self:
        """The error for the function with that dotted name, after so many seconds."""
        error = cls(
            f"{name} has not returned for {seconds:g} s.",
            f"Find out what {name} waits for, and restart the worker: while it waits, this process"
            " leaves the stream to others.",
        )
        error.function = name
        return error


class DatabaseCallHangs(CallHangs, django.db.OperationalError):
    """The call is to the database. Code that does not look closer sees an ordinary outage."""


class OutOfTime(CallHangs):
    """The process has to end. Unfinished work is rolled back, and another worker does it."""


class Callee(enum.Enum):
    """Whose code the thread is in."""

    PROJECT = "the project's, or that of an unknown package"
    DATABASE = "the database's driver"


class OpenCall(NamedTuple):
    """A call that a thread has made and that has not returned yet."""

    frame: FrameType
    """Identifies this call: the next call of the same function has another frame."""

    callee: Callee

    name: str
    """The function's dotted name."""

    def error(self, seconds: float) -> CallHangs:
        """The error to raise once it has taken so many seconds."""
        seconds = round(seconds)
        if self.callee is Callee.DATABASE:
            return DatabaseCallHangs(
                f"The database has not answered for {seconds:g} s.",
                "Check whether something drops its connections; a new one is opened.",
            )
        return ProjectCallHangs.of(self.name, seconds)


def find_open_call(thread: int | None) -> OpenCall | None:
    """The call of the project's code, or of the driver, that the thread is in; None if neither,
    since our own code always returns.

    The innermost function decides which of the two it is: a driver may call back into the project,
    and a package that watches statements calls the driver.
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
