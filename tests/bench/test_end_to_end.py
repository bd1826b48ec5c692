"""``python -m bench``, in small, as a process: each mode runs to its end and writes its files."""

from __future__ import annotations

import json
import pstats
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.digest import digest_of
from bench.live.wire import PostgreSQL, Statements

CHECKOUT = Path(__file__).parent.parent.parent


def bench(output: Path, *options: str) -> str:
    """Runs the benchmark on SQLite; returns its output."""
    command = [
        sys.executable,
        "-m",
        "bench",
        "--databases",
        "default",
        "--output",
        str(output),
        *options,
    ]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    return done.stdout


def written(output: Path, name: str) -> Any:
    """The JSON file of that name; in the Markdown file beside it, each row has as many cells as
    its head.
    """
    page = (output / f"{name}.md").read_text()
    assert page.startswith("# ")
    for table in page.split("\n\n"):
        assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) <= 1, (
            table
        )
    return json.loads((output / f"{name}.json").read_text())


def test_bulk(tmp_path: Path) -> None:
    """Every contestant has its laps, the aims are judged, and each size has its bar."""
    printed = bench(
        tmp_path,
        *("--only", "bulk", "snapshot", "--rounds", "1", "--chart", "100"),
        *("--events", "300", "--slow-events", "50"),
    )
    trials = written(tmp_path, "bench")
    laps = trials["bulk"] + trials["snapshot"]
    contestants = {(lap["contestant"], lap["recording"], lap["batch"]) for lap in laps}
    assert contestants - {("streamdb", "mixed", None)} == {
        ("durable_state", "mixed", None),
        ("durable_state", "mixed", 100),
        ("durable_state", "hot", None),
        ("durable_state", "inserts", None),
        ("durable_state", "snapshot", None),
        ("bulk_create", "mixed", None),
        ("update_or_create", "mixed", None),
        ("floor", "mixed", None),
        ("decode", "hot", None),
    }
    assert ("streamdb", "mixed", None) in contestants or "StreamDB" in printed
    assert all(lap["wall"] > 0 and lap["cpu"] > 0 and lap["peak_mb"] > 0 for lap in laps)
    assert "| bulk, mixed events: time against the floor | SQLite |" in printed
    assert "| snapshot: time against plain inserts | SQLite |" in printed
    for name, bars in (("batches", 2), ("bulk", 3 + (("streamdb", "mixed", None) in contestants))):
        picture = ElementTree.parse(tmp_path / f"{name}.svg").getroot()
        assert len(picture.findall("{*}rect[@class='bar0']")) == bars + 1  # one in the legend
    assert {path.suffix for path in tmp_path.iterdir()} == {".md", ".json", ".svg"}


def test_live(tmp_path: Path) -> None:
    """Reports a commit's CPU time, statements and round trips, and writes the statements to a
    file.
    """
    printed = bench(
        tmp_path,
        *("--only", "live", "--rounds", "1"),
        *("--live-events", "15", "--live-rate", "30"),
    )
    live = written(tmp_path, "bench")["live"]
    (counted,), (measured,) = live["counted"], live["cpu"]
    assert 0 < measured["commits"] <= measured["events"] == 15
    assert counted["calls"] > 100
    assert counted["statements"] > 3
    assert "| live commit: CPU | SQLite |" in printed
    assert "COMMIT;" in (tmp_path / "commit-default.sql").read_text().splitlines()


def test_latency(tmp_path: Path) -> None:
    """A websocket's callback gets each event, after its commit; if servers are missing, it says
    so.
    """
    printed = bench(
        tmp_path,
        *("--only", "latency", "--rounds", "1", "--databases", "postgres"),
        *("--live-events", "10", "--live-rate", "20"),
    )
    found = written(tmp_path, "bench")["latency"]
    assert found or "Latency is left out: " in printed
    for each in found:
        assert 0 < each["committed"]["p50"] <= each["committed"]["p99"]
        assert each["websocket"]["p50"] > 0
        assert each["direct"] is None or "| PostgreSQL |" in printed


def test_fleet(tmp_path: Path) -> None:
    """Quiet streams, streams that share appends, and a worker that is killed, then one that is
    frozen.
    """
    printed = bench(
        tmp_path,
        *("--only", "fleet", "--idle-streams", "2", "--idle-seconds", "0.5"),
        *("--busy-streams", "2", "--live-events", "10", "--lease-seconds", "1"),
    )
    found = written(tmp_path, "bench")["fleet"]
    (idle,), (busy,), (lost,) = found["idle"], found["busy"], found["take-over"]
    assert idle["streams"] == 2 < idle["connections"]
    assert 0 < busy["committed"]["p50"] <= busy["committed"]["p99"]
    assert sum(lost["shares"]) == lost["streams"]
    assert lost["killed"] > 0 < lost["frozen"]
    assert "| taken over after SIGSTOP | SQLite |" in printed


def test_fan_out(tmp_path: Path) -> None:
    """Each way delivers each event to each client; if servers are missing, it says so."""
    printed = bench(
        tmp_path,
        *("--only", "fanout", "--rounds", "1", "--databases", "postgres"),
        *("--subscribers", "3", "--live-events", "5", "--live-rate", "20"),
    )
    found = written(tmp_path, "bench")["fanout"]
    assert found or "Fan-out is left out: " in printed
    assert [each["way"] for each in found] in ([], ["durable_state", "tutorial", "floor"])
    for each in found:
        assert each["delivered"] == 15
        assert 0 < each["latency"]["p50"] <= each["latency"]["p99"]


@pytest.mark.parametrize("cut", [1, 7, 1_000])
def test_statements_are_counted_on_the_wire(cut: int) -> None:
    """Wherever the bytes are cut, each statement and each wait for the server is counted."""
    read = Statements()
    told = b"".join(
        [
            struct.pack("!ii", 8, 80_877_103),  # SSLRequest, has no type
            struct.pack("!ii", 8, 196_608),  # startup, has none either
            *(_typed(kind, body) for kind, body in SAID),
        ]
    )
    reader = PostgreSQL(read)
    for start in range(0, len(told), cut):
        reader.feed(told[start : start + cut])
    assert read.texts == ["BEGIN", "SELECT ';'", "SELECT 1", "SELECT 1"]
    assert read.round_trips == 2


SAID = [(b"Q", b"BEGIN; SELECT ';'\0"), (b"P", b"one\0SELECT\n1\0\0\0")]
SAID += [(b"B", b"\0one\0\0\0"), (b"E", b"\0\0\0\0\0")] * 2 + [(b"S", b"")]


def _typed(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", 4 + len(body)) + body


def test_memory(tmp_path: Path) -> None:
    """A response and a snapshot, read in one go, again, and by two processes, one of which dies."""
    bench(tmp_path, "--memory", "--events", "12000")
    proofs = written(tmp_path, "memory")
    assert [(proof["recording"], proof["way"], len(proof["peaks_mb"])) for proof in proofs] == [
        (recording, way, processes)
        for recording in ("mixed", "snapshot")
        for way, processes in (("once", 1), ("reset", 1), ("killed", 2))
    ]
    for proof in proofs[2::3]:
        assert 0 < proof["killed_at"] <= proof["events"]


def test_profile(tmp_path: Path) -> None:
    """Rows, snapshots and live commits are attributed to the right rooms."""
    bench(tmp_path, "--profile", "--events", "5000", "--live-events", "10")
    seen = {title: modules for title, _, _, modules, *_ in written(tmp_path, "profile")}
    assert any("materializer/batch/" in name for name in seen["µs an event, mixed"])
    assert any("materializer/staged/" in name for name in seen["µs an event, snapshot"])
    assert seen["µs for a live commit of one event"]
    assert pstats.Stats(str(tmp_path / "live-default.pstats")).stats  # type: ignore[attr-defined]


ROWS: list[tuple[str, str, Any]] = [
    ("message", "a", {"text": "x"}),
    ("setting", "b", {"n": [1, 2]}),
]


@pytest.mark.parametrize(
    "wrong",
    [
        ROWS[:1],
        [("message", "a", {"text": "y"}), ROWS[1]],
        [("message", "c", {"text": "x"}), ROWS[1]],
    ],
)
def test_wrong_rows_are_found(wrong: list[tuple[str, str, Any]]) -> None:
    """The digest of rows does not depend on their order, but on everything else."""
    assert digest_of(ROWS) == digest_of(reversed(ROWS)) != digest_of(wrong)
