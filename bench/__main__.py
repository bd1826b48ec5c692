"""The command: what to measure, and where the results go."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import django
import msgspec

KINDS = ("live", "latency", "bulk", "snapshot", "fleet", "fanout")


def main() -> None:
    """Runs the requested measurements on all available databases; prints and writes the tables."""
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    mode = _memory if options.memory else _profile if options.profile else _compare
    with tempfile.TemporaryDirectory(dir=options.output, prefix="recordings-") as folder:
        mode(options, Path(folder))
    print(f"Written to {options.output}")


def _compare(options: argparse.Namespace, folder: Path) -> None:
    from .aims import judged
    from .bulk.trial import Bulk
    from .databases import at_hand
    from .fanout.trial import FanOutTrial
    from .fleet.trial import FleetTrial
    from .latency.trial import LatencyTrial
    from .live.trial import Live
    from .machine import machine
    from .snapshot.trial import Snapshot
    from .trial import Trial

    kinds: dict[str, Callable[..., Trial]] = {
        "live": Live,
        "latency": LatencyTrial,
        "bulk": Bulk,
        "snapshot": Snapshot,
        "fleet": FleetTrial,
        "fanout": FanOutTrial,
    }
    with ExitStack() as stack:
        trials = {name: kinds[name](options, folder, stack) for name in options.only}
        for alias in at_hand(options.databases):
            for trial in trials.values():
                trial.run(alias)
        where = machine()

    blocks = ["# Benchmark", f"{where}; {options.rounds} rounds."]
    blocks += judged(aim for trial in trials.values() for aim in trial.aims())
    for trial in trials.values():
        blocks += trial.tables()
    _write(options, "bench", blocks, {name: each.measured() for name, each in trials.items()})


def _memory(options: argparse.Namespace, folder: Path) -> None:
    from .bulk.memory import WAYS, Proof, prove
    from .bulk.report import memory
    from .databases import at_hand
    from .machine import machine
    from .recording import record
    from .server import serve

    # Longer values: a million events then take 280 MB.
    recordings = [record(kind, options.events, folder, filler=90) for kind in ("mixed", "snapshot")]
    proofs: list[Proof] = []
    with serve({each.name: each.path for each in recordings}) as url:
        for alias in at_hand(options.databases):
            for recording in recordings:
                for way in WAYS:
                    proof = prove(alias, recording, f"{url}/{recording.name}", way)
                    print(
                        f"{proof.database}, {proof.recording}, {way}: {proof.wall:.0f} s, "
                        f"{max(proof.peaks_mb):.0f} MB",
                        flush=True,
                    )
                    proofs.append(proof)
    _write(options, "memory", ["# Memory", f"{machine()}.", *memory(proofs)], proofs)


def _profile(options: argparse.Namespace, folder: Path) -> None:
    from .bulk.laps import lap
    from .databases import at_hand
    from .live.commit import profile as profile_live
    from .machine import machine
    from .profile import Profiled, tables
    from .recording import record
    from .server import serve

    wanted = {"bulk": "mixed", "snapshot": "snapshot"}
    kinds = [kind for name, kind in wanted.items() if name in options.only]
    recordings = [record(kind, options.events, folder) for kind in kinds]
    runs: list[Profiled] = []
    with serve({each.name: each.path for each in recordings}) as url:
        for alias in at_hand(options.databases):
            if "live" in options.only:
                path = options.output / f"live-{alias}.pstats"
                runs.append(profile_live(alias, options.live_events, options.live_rate, path))
            for each in recordings:
                done = lap(alias, "durable_state", each, f"{url}/{each.name}", profiled=True)
                title = f"µs an event, {done.recording}"
                runs.append(
                    Profiled(title, done.database, done.events, done.modules, done.cpu, done.wall)
                )
    _write(options, "profile", ["# Where the time goes", f"{machine()}.", *tables(runs)], runs)


def _write(options: argparse.Namespace, name: str, blocks: list[str], measured: Any) -> None:
    page = "\n\n".join(blocks) + "\n"
    print(f"\n{page}")
    (options.output / f"{name}.md").write_text(page)
    (options.output / f"{name}.json").write_text(
        json.dumps(msgspec.to_builtins(measured), indent=1)
    )


def _options() -> argparse.Namespace:
    from .databases import ALIASES

    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add: Callable[..., Any] = parser.add_argument
    add("--only", nargs="+", choices=KINDS, default=KINDS, help="what to measure; default: all")
    add(
        "--databases",
        nargs="+",
        choices=ALIASES,
        default=ALIASES,
        help="default (SQLite), postgres, mysql; default: all at hand",
    )
    add("--rounds", type=int, default=3, help="of each, one after the other (default 3)")
    add("--events", type=int, help="in the stream (default 100,000; for --memory 1,000,000)")
    add("--slow-events", type=int, default=2_000, help="for update_or_create (default 2,000)")
    add("--live-events", type=int, default=300, help="appended one by one (default 300)")
    add("--live-rate", type=float, default=20.0, help="of them in a second (default 20)")
    add(
        "--idle-streams",
        type=int,
        nargs="+",
        default=[1, 300, 1000],
        help="on which nothing happens (default 1, 300 and 1000)",
    )
    add("--idle-seconds", type=float, default=60.0, help="for which they are followed")
    add(
        "--busy-streams",
        type=int,
        nargs="+",
        default=[1, 100, 300, 1000],
        help="that share the live events (default 1, 100, 300 and 1000)",
    )
    add("--lease-seconds", type=float, default=10.0, help="where a worker is lost (default 10)")
    add(
        "--subscribers",
        type=int,
        nargs="*",
        default=[10, 200, 1000],
        help="of one stream (default 10, 200 and 1000)",
    )
    add("--sockets", type=int, default=0, help="fanout also to so many sockets (default: not)")
    add(
        "--chart",
        type=int,
        nargs="+",
        metavar="ROWS",
        help="draw a chart by BATCH_ROWS: these, and the default",
    )
    add("--reference", action="store_true", help="bulk also from the reference server")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--memory", action="store_true", help="instead: peak memory of long responses and snapshots"
    )
    mode.add_argument(
        "--profile",
        action="store_true",
        help="instead: where the time of this product goes; for live also files for pstats",
    )
    add("--output", type=Path, default=Path("build/bench"), help="folder for the results")
    options = parser.parse_args()
    options.events = options.events or (1_000_000 if options.memory else 100_000)
    return options


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    django.setup()
    main()
