"""The command: options, laps, report."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import django
import msgspec


def main() -> None:
    """Runs what was asked for on all databases at hand; prints and writes the tables."""
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.output, prefix="recordings-") as folder:
        if options.memory:
            _memory(options, Path(folder))
        elif options.profile:
            _profile(options, Path(folder))
        else:
            _compare(options, Path(folder))
    print(f"Written to {options.output}")


def _compare(options: argparse.Namespace, folder: Path) -> None:
    from .chart import chart
    from .course import Lap, lap, streamdb_missing
    from .recording import record
    from .report import comparison
    from .server import serve
    from .upload import reference

    mixed, hot = record("mixed", options.events, folder), record("hot", options.events, folder)
    some = record("mixed", min(options.events, options.slow_events), folder)
    print(f"{mixed.events:,} events, {mixed.megabytes:.1f} MB, {options.rounds} rounds")
    missing = streamdb_missing()
    if missing:
        print(f"StreamDB is left out: {missing}")
    streamdb = () if missing else ("streamdb",)
    laps: list[Lap] = []
    charted: list[Lap] = []
    with ExitStack() as stack:
        url = stack.enter_context(serve({each.name: each.path for each in (mixed, hot, some)}))
        uploaded = ""
        if options.reference and missing:
            print(f"The reference server is left out: {missing}")
        elif options.reference:
            uploaded = stack.enter_context(reference(mixed))
        for alias in _at_hand(options):

            def run(contestant: str, recording: Any, number: int, **named: Any) -> Lap:
                named.setdefault("url", f"{url}/{recording.name}")
                done = lap(alias, contestant, recording, number=number, **named)  # noqa: B023
                batch = f", BATCH_ROWS {done.batch:,}" if done.batch else ""
                print(
                    f"{done.database}, {done.recording} from the {done.server} server, {contestant}{batch}: "
                    f"{done.rate:,.0f} events/s, {done.cpu:.2f} CPU seconds",
                    flush=True,
                )
                return done

            for number in range(options.rounds):
                for contestant in ("durable_state", "bulk_create", "floor", *streamdb):
                    laps.append(run(contestant, mixed, number))
                for contestant in ("durable_state", "decode"):
                    laps.append(run(contestant, hot, number))
                for contestant in ("durable_state", *streamdb, "decode") if uploaded else ():
                    laps.append(run(contestant, mixed, number, url=uploaded, server="reference"))
                charted += [
                    run("durable_state", mixed, number, batch=size) for size in options.chart or ()
                ]
            laps.append(run("update_or_create", some, 0))
    table = comparison(laps)
    _write(options, "bench", table, laps + charted)
    if charted:
        default = [
            each for each in laps if (each.contestant, each.recording, each.server) == CHARTED
        ]
        (options.output / "batches.svg").write_text(chart([*charted, *default]))


CHARTED = ("durable_state", "mixed", "static")


def _memory(options: argparse.Namespace, folder: Path) -> None:
    from .memory import WAYS, Proof, prove
    from .recording import record
    from .report import memory
    from .server import serve

    # Longer values: a million events are 280 MB then.
    recordings = [record(kind, options.events, folder, filler=90) for kind in ("mixed", "snapshot")]
    proofs: list[Proof] = []
    with serve({each.name: each.path for each in recordings}) as url:
        for alias in _at_hand(options):
            for recording in recordings:
                for way in WAYS:
                    proof = prove(alias, recording, f"{url}/{recording.name}", way)
                    print(
                        f"{proof.database}, {proof.recording}, {way}: {proof.wall:.0f} s, {max(proof.peaks_mb):.0f} MB",
                        flush=True,
                    )
                    proofs.append(proof)
    _write(options, "memory", memory(proofs), proofs)


def _profile(options: argparse.Namespace, folder: Path) -> None:
    from .course import lap
    from .recording import record
    from .report import profile
    from .server import serve

    recordings = [record(kind, options.events, folder) for kind in ("mixed", "snapshot")]
    with serve({each.name: each.path for each in recordings}) as url:
        laps = [
            lap(alias, "durable_state", each, f"{url}/{each.name}", profiled=True)
            for alias in _at_hand(options)
            for each in recordings
        ]
    _write(options, "profile", profile(laps), laps)


def _at_hand(options: argparse.Namespace) -> Iterator[str]:
    """Each alias, while its database is there."""
    from django.db import connections

    from tests.services import missing

    from .course import course

    for alias in options.databases or [*connections, *missing]:
        if alias in connections:
            with course(alias):
                yield alias
        elif alias in ALIASES:
            print(f"{alias} is left out: {missing[alias]}")


ALIASES = ("default", "postgres", "mysql")


def _write(options: argparse.Namespace, name: str, table: str, measured: Any) -> None:
    print(f"\n{table}")
    (options.output / f"{name}.md").write_text(table)
    (options.output / f"{name}.json").write_text(
        json.dumps(msgspec.to_builtins(measured), indent=1)
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add: Callable[..., Any] = parser.add_argument
    add("--events", type=int, help="events in the stream (default 100,000; for --memory 1,000,000)")
    add(
        "--slow-events", type=int, default=2_000, help="events for update_or_create (default 2,000)"
    )
    add(
        "--rounds",
        type=int,
        default=3,
        help="laps of each contestant, one after the other (default 3)",
    )
    add(
        "--databases",
        nargs="+",
        choices=ALIASES,
        help="default (SQLite), postgres, mysql; default: all at hand",
    )
    add(
        "--chart",
        type=int,
        nargs="+",
        metavar="ROWS",
        help="draw a chart by BATCH_ROWS: these, and the default",
    )
    add("--reference", action="store_true", help="also from the reference server, which needs Node")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--memory", action="store_true", help="instead: peak memory of long responses and snapshots"
    )
    mode.add_argument(
        "--profile", action="store_true", help="instead: where the time of this product goes"
    )
    add("--output", type=Path, default=Path("build/bench"), help="folder for the results")
    options = parser.parse_args()
    options.events = options.events or (1_000_000 if options.memory else 100_000)
    return options


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    django.setup()
    main()
