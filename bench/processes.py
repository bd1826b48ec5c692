"""What a process uses, as Linux reports it."""

from __future__ import annotations

import os
import resource
from pathlib import Path

__all__ = ["allow_many_files", "cpu", "memory_mb", "open_sockets"]


def allow_many_files() -> None:
    """Lets this process open as many files, and so sockets, as it is allowed to."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def cpu(pid: int) -> float:
    """Seconds of CPU that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """Its resident memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    resident = next(line for line in lines if line.startswith("VmRSS:"))
    return int(resident.split()[1]) / 1024


def open_sockets(pid: int) -> int:
    """Connections to servers of streams and databases alike."""
    files = Path(f"/proc/{pid}/fd").iterdir()
    return sum(str(each.readlink()).startswith("socket:") for each in files)
