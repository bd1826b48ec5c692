"""Messages become rows: conversion, compaction, staging, switch, dead letters, parking.

Runs inside a transaction that the consumer opens. May not import transport, feed or anything above;
knows no HTTP and no channels.
"""

from durable_state.conversion import Refused

from .batch.prepared_batch import PreparedBatch, prepare_batch
from .changes import Outcome
from .direct import DirectChanges, TypeFacts, Unusual
from .fold import Fold
from .letters import PROTECTED
from .shown.removal import remove_rows
from .staged.generations import drop_generation, sweep_generations
from .staged.steps import OnStep, watch_steps

__all__ = [
    "PROTECTED",
    "DirectChanges",
    "Fold",
    "OnStep",
    "Outcome",
    "PreparedBatch",
    "Refused",
    "TypeFacts",
    "Unusual",
    "drop_generation",
    "prepare_batch",
    "remove_rows",
    "sweep_generations",
    "watch_steps",
]
