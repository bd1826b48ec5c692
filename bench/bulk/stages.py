"""Where the time goes: looks at all threads' stacks every few milliseconds, and counts what they are at."""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType

import durable_state

__all__ = ["DATABASE", "STAGES", "Sampler"]

SECONDS = 0.004
"""Between two looks."""
SWITCH_SECONDS = 0.0002
"""After which another thread must give the interpreter away."""
DATABASE = ", database"
"""Ends the name of a stage while a driver works or waits for its server."""

STAGES = {
    "transport/": "HTTP, decoding, cutting batches",
    "protocol/": "HTTP, decoding, cutting batches",
    "materializer/batch/sorting": "sorting by entity, compaction",
    "materializer/fold": "sorting by entity, compaction",
    "materializer/batch/compaction": "sorting by entity, compaction",
    "materializer/typebook": "sorting by entity, compaction",
    "materializer/changes": "sorting by entity, compaction",
    "materializer/batch/preparation": "preparing, conversion",
    "materializer/batch/plain": "preparing, conversion",
    "conversion/": "preparing, conversion",
    "registry/": "preparing, conversion",
    "materializer/rows/rows.py:read_rows": "reading rows",
    "materializer/rows/rows.py:differs": "comparing, relations",
    "materializer/rows/rows.py:write_rows": "writing rows",
    "materializer/rows/rows.py:_write": "writing rows",
    "materializer/rows/writers/": "writing rows",
    "materializer/staged/": "staging and switching snapshots",
    "materializer/": "comparing, relations",
    "feed/": "feed",
    "consumer/commit": "position, commit",
    "databases/transaction": "position, commit",
    "consumer/lease": "position, commit",
    "": "event loop and the rest",
}
"""What a stack is at, by the innermost function of ours (path in the package, colon, name): the first beginning that fits."""

PACKAGE = f"{Path(durable_state.__file__).parent}/"
DRIVERS = ("/psycopg/", "/MySQLdb/", "/django/db/backends/")
IDLE = ("/selectors.py", "/threading.py", "/queue.py", "/concurrent/futures/thread.py")


class Sampler:
    """Samples every thread but its own from its making until :meth:`stop`."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        # Else this thread comes to look mostly when another gives the interpreter away by itself, which drivers do.
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        self._thread.start()

    def stop(self) -> dict[str, float]:
        """Seconds by stage, summed over the threads, which overlap."""
        self._stopped.set()
        self._thread.join()
        sys.setswitchinterval(self._interval)
        return dict(self._seconds)

    def _run(self) -> None:
        own, last = threading.get_ident(), time.perf_counter()
        while not self._stopped.wait(SECONDS):
            now = time.perf_counter()
            for thread, frame in sys._current_frames().items():
                if thread != own and (stage := _stage(frame)):
                    self._seconds[stage] += now - last
            last = now


def _stage(frame: FrameType | None) -> str:
    """Of one stack; empty where its thread only waits for work."""
    assert frame is not None
    innermost = frame.f_code.co_filename
    if innermost.endswith(IDLE):
        return ""
    while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    code = frame.f_code if frame is not None else None
    place = f"{code.co_filename.removeprefix(PACKAGE)}:{code.co_name}" if code is not None else ""
    name = next(name for start, name in STAGES.items() if place.startswith(start))
    return name + DATABASE if any(driver in innermost for driver in DRIVERS) else name
