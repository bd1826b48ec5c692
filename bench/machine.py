"""The machine and the software of the measurement."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from .databases import versions

__all__ = ["machine"]


def machine() -> str:
    """The processor, the interpreters, the libraries and the servers, in one sentence."""
    load = os.getloadavg()[0]
    known = [
        f"{_processor()}, {os.cpu_count()} cores, load {load:.1f}",
        f"Python {platform.python_version()}",
        f"Django {version('django')}",
        *versions.values(),
    ]
    if shutil.which("node"):
        done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
        known.append(f"Node {done.stdout.strip().removeprefix('v')}")
    return ", ".join(known)


def _processor() -> str:
    with suppress(OSError), Path("/proc/cpuinfo").open() as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
