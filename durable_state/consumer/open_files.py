"""Allows a seat as many open files as it needs: one for each stream that it follows."""

from __future__ import annotations

import logging

try:
    import resource
except ImportError:  # Windows, which has no such limit
    resource = None  # type: ignore[assignment]

__all__ = ["allow_open_files"]

logger = logging.getLogger("durable_state.consumer")

BESIDES = 200
"""Other files that a process has open: its database sessions, and checks beside the readers."""


def allow_open_files(streams: int) -> None:
    """Raises the process's limit if it is too low for so many streams.

    Most systems allow a thousand files unless a process asks for more, which one seat may need.
    What cannot be had is logged.
    """
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited, wanted = resource.RLIM_INFINITY, streams + BESIDES
    if soft == unlimited or soft >= wanted:
        return

    allowed = wanted if hard == unlimited else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):  # macOS has a limit of its own, and sandboxes may forbid it
        allowed = soft
    if allowed < wanted:
        logger.warning(
            "This process may open %s files, and %s streams need a connection each. Allow more "
            "(LimitNOFILE in a systemd unit, ulimit -n in a shell), or lower SEAT_STREAMS.",
            allowed,
            streams,
        )
