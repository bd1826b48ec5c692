"""Consumes streams: reads, materializes and publishes.

It alone composes transport, materializer and feed, and opens the transaction. What is named here
is all that the rooms above may use.
"""

from .claiming import announce_missing, runnable
from .commits import commit, reapply, release
from .committing import Commit
from .error_text import describe_error
from .lease import UNATTENDED, Attendance, attendances, holder_of
from .moment import at_one_moment
from .readers import ask_once, read_from_start
from .replay import abandon_replay, advance, begin_replay, hand_over, hold_replay
from .run import CELERY, consume_slice, run_all, sync
from .upkeep import sweep_dropped, tidy
from .watcher import Watcher

__all__ = [
    "CELERY",
    "UNATTENDED",
    "Attendance",
    "Commit",
    "Watcher",
    "abandon_replay",
    "advance",
    "announce_missing",
    "ask_once",
    "at_one_moment",
    "attendances",
    "begin_replay",
    "commit",
    "consume_slice",
    "describe_error",
    "hand_over",
    "hold_replay",
    "holder_of",
    "read_from_start",
    "reapply",
    "release",
    "run_all",
    "runnable",
    "sweep_dropped",
    "sync",
    "tidy",
]
