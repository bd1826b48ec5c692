"""Where one run of the demo lives: in a folder of its own, on ports that nobody uses."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO

__all__ = ["CHECKOUT", "Place", "choose_port", "claim_place"]

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Place:
    """A fresh, empty folder, ours for as long as ``lock`` is open."""

    folder: Path
    number: int
    lock: IO[str]


def claim_place() -> Place:
    """Takes the first numbered folder that no running demo holds, and empties it.

    What an earlier run left is of no use: its stream server kept everything in memory. The lock is
    the kernel's, so a run that was killed holds nothing. EXAMPLE_DEMO_DIR says where the folders
    are.
    """
    parent = Path(
        os.environ.get("EXAMPLE_DEMO_DIR", CHECKOUT / "example_project" / ".demo")
    ).resolve()
    parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        lock = (parent / f"{number}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        folder = parent / str(number)
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "logs").mkdir(parents=True)
        return Place(folder, number, lock)
    raise AssertionError("unreachable")


def choose_port(wanted: int, purpose: str) -> int:
    """Returns the wanted loopback port or, if it is taken, another one, and says so."""
    try:
        return _bindable(wanted)
    except OSError:
        port = _bindable(0)
        print(f"Port {wanted} is in use; the {purpose} takes {port}.")
        return port


def _bindable(port: int) -> int:
    with socket.socket() as server:
        # As servers do: a port whose last connections are only closing is free.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        bound: int = server.getsockname()[1]
        return bound
