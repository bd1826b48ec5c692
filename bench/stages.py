"""Where the time goes: samples all threads' stacks again and again, and counts the rooms."""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import FrameType

import durable_state

__all__ = ["DRIVER", "ORM", "SAMPLED", "Sampler", "rooms"]

SWITCH_SECONDS = 0.0002
"""Seconds after which a thread has to release the interpreter."""
DRIVER = ", driver"
"""Ends the name of a module for which a driver works, or waits for its server."""
ORM = ", ORM"
"""Ends the name of a module for which Django's ORM builds a statement or objects."""
ELSEWHERE = "event loop and the rest"

SAMPLED = (
    "Sampled by the room whose code is innermost; threads overlap, so the sum may be more than the "
    "clock's. In brackets, of it: the driver's work and the wait for the server (on SQLite, the "
    "database's own work)."
)

DETAILED = (".", "databases", "materializer/rows")
"""Folders whose modules are listed separately."""
PACKAGE = f"{Path(durable_state.__file__).parent}/"
DRIVERS = ("/psycopg/", "/MySQLdb/", "/django/db/backends/")
ORMS = ("/django/db/models/", "/django/db/transaction.py", "/django/utils/")
IDLE = ("/selectors.py", "/threading.py", "/queue.py", "/concurrent/futures/thread.py")


class Sampler:
    """Samples every thread but its own, every ``seconds``, from its creation until :meth:`stop`."""

    def __init__(self, seconds: float) -> None:
        self._every = seconds
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        # Otherwise this thread would mostly sample when another one releases the interpreter by
        # itself, which drivers do.
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        self._thread.start()

    def seconds(self) -> dict[str, float]:
        """The seconds so far, by module, summed over the threads, which overlap."""
        return dict(self._seconds)

    def stop(self) -> dict[str, float]:
        """The same, at the end."""
        self._stopped.set()
        self._thread.join()
        sys.setswitchinterval(self._interval)
        return self.seconds()

    def _run(self) -> None:
        own, last = threading.get_ident(), time.perf_counter()
        while not self._stopped.wait(self._every):
            now = time.perf_counter()
            for thread, frame in sys._current_frames().items():
                if thread != own and (module := _module(frame)):
                    self._seconds[module] += now - last
            last = now


def _module(frame: FrameType | None) -> str:
    """The innermost module of ours in one stack; empty if its thread only waits for work."""
    assert frame is not None
    innermost = frame.f_code.co_filename
    if innermost.endswith(IDLE):
        return ""
    while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    name = ELSEWHERE if frame is None else frame.f_code.co_filename.removeprefix(PACKAGE)
    if any(driver in innermost for driver in DRIVERS):
        return name + DRIVER
    return name + ORM if any(orm in innermost for orm in ORMS) else name


def rooms(modules: Mapping[str, float]) -> dict[str, tuple[float, float, float]]:
    """Seconds by folder of the package, and of these the driver's and the ORM's.

    Where most of the work is, modules are listed separately.
    """
    sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for name, seconds in modules.items():
        path = PurePosixPath(name.removesuffix(DRIVER).removesuffix(ORM))
        alone = path.parent.as_posix() in DETAILED
        room = path.with_suffix("") if alone else path.parent
        sums[room.as_posix()][0] += seconds
        sums[room.as_posix()][1] += seconds * name.endswith(DRIVER)
        sums[room.as_posix()][2] += seconds * name.endswith(ORM)
    ordered = sorted(sums.items(), key=lambda item: -item[1][0])
    return {room: (total, driver, orm) for room, (total, driver, orm) in ordered}
