"""What processes are called, and whether one of this machine is known to be dead."""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from functools import lru_cache
from pathlib import Path

__all__ = ["is_known_dead", "make_nonce", "name_process", "name_sessions", "nonce_of"]


def make_nonce() -> str:
    """What no other process has, nor this one a second time.

    It begins with what tells machines apart that have the same name.
    """
    return f"{_machine()}-{uuid.uuid4().hex[:8]}"


def name_process(purpose: str, nonce: str = "") -> str:
    """Names this process and what it does: ``host:pid:purpose:nonce``."""
    return f"{socket.gethostname()[:150]}:{os.getpid()}:{purpose}:{nonce or make_nonce()}"


def name_sessions(nonce: str) -> str:
    """What the names of its sessions on the database server begin with."""
    return f"durable_state {nonce}"


def nonce_of(name: str) -> str:
    """Of the process of that name; empty, where it is a place that nobody has taken."""
    return name.rpartition(":")[2]


def is_known_dead(name: str) -> bool:
    """Whether the process was of this machine, since it was started last, and is no more.

    Numbers of processes are used again, so this can only err towards waiting.
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
    """Whether the process has ended, and nobody has asked how: in containers nobody may."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] == "Z"


@lru_cache(maxsize=1)
def _machine() -> str:
    """Of one boot and one space of process numbers: containers may share all but that."""
    told = [uuid.getnode().to_bytes(6, "big")]
    try:
        told.append(Path("/proc/sys/kernel/random/boot_id").read_bytes())
        told.append(str(Path("/proc/self/ns/pid").readlink()).encode())
    except OSError:
        pass  # not Linux: the network card's number has to do
    return hashlib.sha256(b" ".join(told)).hexdigest()[:8]
