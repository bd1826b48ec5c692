"""The consuming process: ``durable_state run``, which tells its figures when it is asked.

Run by the bench itself: ``python -m bench.live.consumer``. Each line on its standard input is a
question, and the answer is one JSON object in a line. BENCH_COUNTED makes it count calls, and on
SQLite statements; BENCH_TIMED makes it note when each entity was committed; BENCH_TELLS has it tell
of commits in another way (``bench.fanout.telling``); BENCH_SAMPLED makes it tell in which modules
its time goes; BENCH_PROFILE names a file for a profile of the threads that commit.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

from bench.stages import Sampler

__all__: list[str] = []

SAMPLING_SECONDS = 0.001


def main() -> None:
    """Runs until it is terminated, or until nobody is there who might ask."""
    from django.core.management import call_command

    figures: dict[str, Callable[[], Any]] = {"cpu": time.process_time}
    threading.Thread(target=_answer, args=(figures,), daemon=True).start()
    if "BENCH_COUNTED" in os.environ:
        _count(figures)
    if "BENCH_TIMED" in os.environ:
        _time(figures)
    if way := os.environ.get("BENCH_TELLS"):
        from bench.fanout.telling import tell_of_commits

        tell_of_commits(way)
    if "BENCH_SAMPLED" in os.environ:
        figures["modules"] = Sampler(SAMPLING_SECONDS).seconds
    profile = None
    if "BENCH_PROFILE" in os.environ:
        from .calls import profile_tasks

        profile = profile_tasks()

    with Path(os.devnull).open("w") as nowhere:
        call_command("durable_state", "run", stdout=nowhere, stderr=nowhere)

    if profile is not None:
        profile.dump_stats(os.environ["BENCH_PROFILE"])


def _count(figures: dict[str, Callable[[], Any]]) -> None:
    from django.db.backends.signals import connection_created

    from .calls import Calls

    texts: list[str] = []

    def trace(connection: Any, **_: Any) -> None:
        if connection.vendor == "sqlite":
            connection.connection.set_trace_callback(texts.append)

    connection_created.connect(trace, weak=False)
    calls = Calls()
    figures["texts"] = lambda: texts
    figures["calls"] = lambda: calls.functions
    figures["plans"] = lambda: calls.plans


def _time(figures: dict[str, Callable[[], Any]]) -> None:
    from durable_state.signals import changes_committed

    committed_at: dict[str, int] = {}

    def note(upserted: list[str] | None, **_: Any) -> None:
        committed_at.update(dict.fromkeys(upserted or (), time.monotonic_ns()))

    changes_committed.connect(note, weak=False)
    figures["committed_at"] = lambda: committed_at


def _answer(figures: dict[str, Callable[[], Any]]) -> None:
    for _ in sys.stdin:
        print(json.dumps({name: figure() for name, figure in figures.items()}), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    django.setup()
    main()
