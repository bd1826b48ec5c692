"""Messages become rows: conversion, compaction, staging, switch, dead letters, parking.

Runs inside a transaction that the consumer opens. May not import transport, feed or anything above; knows no HTTP and no channels.
"""

from .conversion import Refused
from .fold import Fold
from .generations import drop, sweep
from .letters import PROTECTED
from .outcome import Outcome
from .removal import remove_rows
from .sorting import PreparedBatch, prepare_batch
from .steps import OnStep, watch_steps

__all__ = [
    "PROTECTED",
    "Fold",
    "OnStep",
    "Outcome",
    "PreparedBatch",
    "Refused",
    "drop",
    "prepare_batch",
    "remove_rows",
    "sweep",
    "watch_steps",
]
