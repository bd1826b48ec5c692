"""The reference server of the protocol's authors, from npm."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .process import StreamServer, serving

__all__ = ["INTEROP", "missing", "reference"]

INTEROP = Path(__file__).parent.parent / "interop"


def missing() -> str:
    """Why the reference server cannot run here; empty where it can."""
    if shutil.which("node") is None:
        return "node is not on the PATH"
    if not (INTEROP / "node_modules" / "@durable-streams" / "server").is_dir():
        return "tests/interop/node_modules is not installed (npm ci in tests/interop)"
    return ""


@contextmanager
def reference(
    *, long_poll_seconds: float = 0.6, port: int = 0, data_dir: Path | None = None
) -> Iterator[StreamServer]:
    """Runs the reference server; in memory, unless ``data_dir`` is given."""
    env = os.environ | {
        "PORT": str(port),
        "LONG_POLL_TIMEOUT_MS": str(round(long_poll_seconds * 1000)),
    }
    if data_dir is not None:
        env["DATA_DIR"] = str(data_dir)
    with serving(["node", "reference_server.mjs"], env=env, cwd=INTEROP) as server:
        yield server
