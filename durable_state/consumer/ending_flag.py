"""A flag by which a process asks the processes that it started to end, forked or spawned.

Forked ones share the parent's memory. Spawned ones (Celery's children on macOS) share only its
environment, which names a file of one byte.
"""

from __future__ import annotations

import atexit
import logging
import mmap
import os
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = ["EndingFlag"]

logger = logging.getLogger("durable_state.consumer")

VARIABLE = "DURABLE_STATE_ENDING"
"""The environment variable with the parent's process number, a colon, and the file's path."""


class EndingFlag:
    """Raised once, by the process that shares it; seen by that process and its children."""

    def __init__(self) -> None:
        self._is_raised = False
        self._byte: mmap.mmap | None = None

    def share(self, *, forks: bool) -> None:
        """Makes it visible to children that are started from now on; only spawned ones need a
        file.
        """
        if forks:
            self._byte = mmap.mmap(-1, 1)
            return
        try:
            number, path = tempfile.mkstemp(prefix="durable-state-ending-")
            try:
                os.write(number, b"\0")
                self._byte = mmap.mmap(number, 1)
            finally:
                os.close(number)
        except OSError as error:
            logger.warning(
                "Child processes will not notice when this one is asked to end: %s", error
            )
            return
        os.environ[VARIABLE] = f"{os.getpid()}:{path}"
        atexit.register(_remove, os.getpid(), path)

    def set(self) -> None:
        """Raises it."""
        self._is_raised = True
        if self._byte is not None:
            self._byte[0] = 1

    def is_set(self) -> bool:
        """Whether it is raised, here or by the parent."""
        if self._byte is None:
            self._byte = _find_parents()
        return self._is_raised or (self._byte is not None and self._byte[0] != 0)


def _find_parents() -> mmap.mmap | None:
    """The flag of the process that started this one, if it shares one."""
    pid, _, path = os.environ.get(VARIABLE, "").partition(":")
    if pid == str(os.getppid()):
        with suppress(OSError, ValueError), Path(path).open("r+b") as file:
            return mmap.mmap(file.fileno(), 1)
    return None


def _remove(pid: int, path: str) -> None:
    if os.getpid() == pid:
        with suppress(OSError):
            Path(path).unlink()
