"""One contestant, once, in this process: prints one JSON object. Run by the bench itself: ``python -m bench.lap NAME URL BATCH``."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import time
from contextlib import suppress
from io import StringIO
from pathlib import Path

import django

__all__ = ["run"]


def run(name: str, url: str, batch: int) -> dict[str, object]:
    """Seconds on the clock and on the CPU, megabytes at the peak, and a digest of the rows."""
    from django.core.management import call_command

    from .contestants import CONTESTANTS, tables

    call_command(
        "durable_state", "status", stdout=StringIO()
    )  # what is imported, and the connection, are there before the start
    wall, cpu = time.perf_counter(), time.process_time()
    CONTESTANTS[name](url, batch)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = _peak_mb()
    digest = hashlib.sha256(json.dumps(tables()).encode()).hexdigest()
    return {"wall": wall, "cpu": cpu, "peak_mb": peak, "rows": digest}


def _peak_mb() -> float:
    """The most memory this program had; Linux counts what the process was before exec into ``ru_maxrss``."""
    with suppress(OSError), Path("/proc/self/status").open() as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    django.setup()
    print(json.dumps(run(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
