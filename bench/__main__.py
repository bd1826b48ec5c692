"""The command: options, laps, report."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import django
import msgspec


def main() -> None:
    """Runs all contestants on all databases at hand; prints and writes the table."""
    options = _options()
    from django.db import connections

    from tests.services import missing

    from .chart import chart
    from .course import Lap, course, lap
    from .recording import record, record_hot
    from .report import markdown
    from .server import serve

    mixed = record(options.events)
    recordings = {"mixed": mixed, "some": mixed[: options.slow_events], "hot": record_hot(options.events)}
    bodies = {name: b"[" + b",".join(messages) + b"]" for name, messages in recordings.items()}
    print(f"{len(mixed):,} events, {len(bodies['mixed']) / 1e6:.1f} MB, {options.rounds} rounds")
    laps: list[Lap] = []
    charted: list[Lap] = []

    def run(contestant: str, recording: str, batch: int = options.batch) -> Lap:
        done = lap(alias, contestant, recording, url, len(recordings[recording]), batch)
        print(f"{alias} {contestant}, {recording}: {done.rate:,.0f} events/s")
        return done

    with serve(bodies) as url:
        for alias in options.databases or connections:
            if alias not in connections:
                print(f"{alias}: {missing.get(alias, 'no such database')}")
                continue
            with course(alias):
                full = [
                    run(name, "mixed")
                    for _ in range(options.rounds)
                    for name in ("durable_state", "bulk_create", "floor")
                ]
                if len({each.rows for each in full}) > 1:
                    raise SystemExit(f"{alias}: the contestants ended with different rows.")
                slow = run("update_or_create", "some")
                slow.recording = "mixed"
                laps += [*full, slow, run("durable_state", "hot"), run("decode", "hot")]
                charted += [run("durable_state", "mixed", size) for size in options.chart]
    table = markdown(laps)
    print(table)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "bench.md").write_text(table)
    (options.output / "bench.json").write_text(json.dumps(msgspec.to_builtins(laps + charted), indent=1))
    if charted:
        (options.output / "batches.svg").write_text(chart(charted))
    print(f"Written to {options.output}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="events in the stream (default 100,000)")
    parser.add_argument("--slow-events", type=int, default=2_000, help="events for update_or_create (default 2,000)")
    parser.add_argument("--batch", type=int, default=10_000, help="events in one transaction (default 10,000)")
    parser.add_argument("--rounds", type=int, default=2, help="laps of each contestant; the best counts (default 2)")
    parser.add_argument(
        "--databases", nargs="*", help="aliases: default (SQLite), postgres, mysql; default: all at hand"
    )
    parser.add_argument(
        "--chart",
        type=int,
        nargs="*",
        default=[],
        metavar="BATCH",
        help="batch sizes to draw a chart of, e.g. 100 1000 10000",
    )
    parser.add_argument("--output", type=Path, default=Path("build/bench"), help="folder for the results")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    django.setup()
    main()
