"""Peak memory while consuming a long response and a long snapshot.

Each is consumed in one go, again after a reset, and with the consumer killed in the middle.
"""

from __future__ import annotations

import json
import subprocess
import time

import msgspec
from django.db import connections

from bench.databases import empty
from bench.recording import Recording
from bench.tables import digest_of_tables
from durable_state import operations
from durable_state.models import Stream

from .lap import peak_mb
from .laps import check, start

__all__ = ["WAYS", "Proof", "prove"]

WAYS = ("once", "reset", "killed")


class Proof(msgspec.Struct):
    """One run over a recording."""

    database: str
    recording: str
    way: str
    """One of WAYS: in one go, again after a reset, or by two processes."""
    events: int
    megabytes: float
    killed_at: int | None
    """The ordinal at which the first process was killed; None if none was."""
    peaks_mb: list[float]
    """Peak resident memory of each process."""
    wall: float
    """Wall-clock seconds of all processes together."""
    cpu: float
    """CPU seconds of the last process."""


def prove(alias: str, recording: Recording, url: str, way: str) -> Proof:
    """Consumes the recording and checks the rows. "reset" must follow one of the other ways.

    Raises: CalledProcessError, WrongRows.
    """
    if way == "reset":
        operations.reset(Stream.objects.using(alias).get(), actor="bench")
    else:
        empty(alias)
    database, kind = connections[alias].display_name, recording.name.partition("-")[0]
    proof = Proof(database, kind, way, recording.events, recording.megabytes, None, [], 0.0, 0.0)
    began = time.perf_counter()
    if way == "killed":
        process = start(alias, "durable_state", url)
        while (ordinal := _ordinal(alias)) < recording.events // 2 and process.poll() is None:
            time.sleep(0.02)
        proof.peaks_mb.append(peak_mb(process.pid))
        process.kill()
        process.communicate()
        proof.killed_at = ordinal
    process = start(alias, "durable_state", url)
    output, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    proof.wall = time.perf_counter() - began
    measured = json.loads(output)
    proof.peaks_mb.append(measured["peak_mb"])
    proof.cpu = measured["cpu"]
    check("durable_state", recording, digest_of_tables(alias))
    return proof


def _ordinal(alias: str) -> int:
    return Stream.objects.using(alias).values_list("ordinal", flat=True).first() or 0
