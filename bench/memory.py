"""Memory: a long response and a long snapshot, each in one go, and again with the consumer killed in the middle and started anew."""

from __future__ import annotations

import json
import subprocess
import time

import msgspec
from django.db import connections

from durable_state.models import Stream

from .course import check, empty, start
from .lap import peak_mb
from .recording import Recording
from .tables import digest_of_tables

__all__ = ["Proof", "prove"]


class Proof(msgspec.Struct):
    """One consumption. ``killed_at`` is the position, in messages, at which the first process was killed; None where none was.

    ``peaks_mb`` is the peak resident memory of each process, ``wall`` the seconds of all of them, ``cpu`` those of the last one's CPU.
    """

    database: str
    recording: str
    events: int
    megabytes: float
    killed_at: int | None
    peaks_mb: list[float]
    wall: float
    cpu: float


def prove(alias: str, recording: Recording, url: str, *, killed: bool) -> Proof:
    """Consumes the recording, and compares the rows. Raises: CalledProcessError, WrongRows."""
    empty(alias)
    database = connections[alias].display_name
    proof = Proof(database, recording.name.partition("-")[0], recording.events, recording.megabytes, None, [], 0.0, 0.0)
    began = time.perf_counter()
    if killed:
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
