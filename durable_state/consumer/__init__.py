"""Consumes streams: reads, materializes and publishes.

It alone composes transport, materializer and feed, and opens the transaction. What is named here
is all that the rooms above may use.
"""

from .appending import append_once
from .claiming import announce_missing, runnable
from .cleanup import sweep_dropped, tidy
from .commits import commit, reapply, release
from .committing import Commit
from .doorbells import make_due, ring
from .ending_flag import EndingFlag
from .error_text import describe_error
from .lease import UNATTENDED, Attendance, attendances, holder_of, living_seats
from .moment import at_one_moment
from .readers import ask_once, read_from_start
from .replay import abandon_replay, advance, begin_replay, hand_over, hold_replay
from .run import consume_slice, run_all, sync
from .seating import CELERY
from .subscribing import ask_for_keys, root_of, subscribe, unsubscribe
from .surroundings import check_threads
from .watcher import Watcher

__all__ = [
    "CELERY",
    "UNATTENDED",
    "Attendance",
    "Commit",
    "EndingFlag",
    "Watcher",
    "abandon_replay",
    "advance",
    "announce_missing",
    "append_once",
    "ask_for_keys",
    "ask_once",
    "at_one_moment",
    "attendances",
    "begin_replay",
    "check_threads",
    "commit",
    "consume_slice",
    "describe_error",
    "hand_over",
    "hold_replay",
    "holder_of",
    "living_seats",
    "make_due",
    "read_from_start",
    "reapply",
    "release",
    "ring",
    "root_of",
    "run_all",
    "runnable",
    "subscribe",
    "sweep_dropped",
    "sync",
    "tidy",
    "unsubscribe",
]
