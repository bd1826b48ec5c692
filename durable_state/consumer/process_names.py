"""Names processes, and tells whether one on this machine is known to be dead."""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from functools import lru_cache
from pathlib import Path

__all__ = ["is_known_dead", "make_nonce", "name_process", "name_sessions", "nonce_of"]


def make_nonce() -> str:
    """A text that no process ever makes twice.

    It begins with something that distinguishes machines of the same name.
    """
    return f"{_machine()}-{uuid.uuid4().hex[:8]}"


def name_process(purpose: str, nonce: str = "") -> str:
    """Names this process and its purpose: ``host:pid:purpose:nonce``."""
    return f"{socket.gethostname()[:150]}:{os.getpid()}:{purpose}:{nonce or make_nonce()}"


def name_sessions(nonce: str) -> str:
    """How the names of its sessions on the database server begin."""
    return f"durable_state {nonce}"


def nonce_of(name: str) -> str:
    """The nonce in a process's name; empty for a reserved seat that nobody has filled."""
    return name.rpartition(":")[2]


def is_known_dead(name: str) -> bool:
    """Whether the process ran on this machine since its last boot, and is gone.

    Process numbers are reused, so the only possible error is to wait for nothing.
    """
    host, _, rest = name.partition(":")
    pid, _, rest = rest.partition(":")
    machine = rest.partition(":")[2].partition("-")[0]
    if (host, machine) != (socket.gethostname()[:150], _machine()) or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return _is_zombie(pid)


def _is_zombie(pid: str) -> bool:
    """Whether the process has ended but was not reaped, as may happen in containers."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] == "Z"


@lru_cache(maxsize=1)
def _machine() -> str:
    """Identifies one boot and one PID namespace, since containers may share everything else."""
    told = [uuid.getnode().to_bytes(6, "big")]
    try:
        told.append(Path("/proc/sys/kernel/random/boot_id").read_bytes())
        told.append(str(Path("/proc/self/ns/pid").readlink()).encode())
    except OSError:
        pass  # not Linux: the network card's number has to do
    return hashlib.sha256(b" ".join(told)).hexdigest()[:8]
