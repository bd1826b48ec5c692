"""Runs one Python contestant once, in this process, and prints one JSON object.

Run by the bench itself: ``python -m bench.bulk.lap NAME URL``.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from contextlib import suppress
from io import StringIO
from pathlib import Path

import django

__all__ = ["peak_mb", "run"]

SAMPLING_SECONDS = 0.004


def run(name: str, url: str, *, profiled: bool) -> dict[str, object]:
    """Measures wall-clock and CPU seconds and peak megabytes; if profiled, seconds by module."""
    from django.core.management import call_command

    from bench.stages import Sampler

    from .contestants import CONTESTANTS

    # Imports, including those that httpx defers, and the first connection are not measured.
    for module in ("httpcore", "anyio._backends._asyncio"):
        importlib.import_module(module)
    call_command("durable_state", "status", stdout=StringIO())
    sampler = Sampler(SAMPLING_SECONDS) if profiled else None
    wall, cpu = time.perf_counter(), time.process_time()
    CONTESTANTS[name](url)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    modules = sampler.stop() if sampler is not None else {}
    return {"wall": wall, "cpu": cpu, "peak_mb": peak_mb(), "modules": modules}


def peak_mb(pid: int | str = "self") -> float:
    """The peak resident memory of a process, in megabytes; 0 if it cannot be known.

    ``ru_maxrss`` is the last resort: Linux includes what the process used before exec.
    """
    with suppress(OSError), Path(f"/proc/{pid}/status").open() as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    if pid != "self":
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024 * 1024 if sys.platform == "darwin" else 1024
    )


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    django.setup()
    print(json.dumps(run(sys.argv[1], sys.argv[2], profiled="BENCH_PROFILE" in os.environ)))
