"""``python -m bench``, small, as a process: each mode runs to its end and writes its files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.digest import digest_of

CHECKOUT = Path(__file__).parent.parent.parent


def bench(output: Path, *options: str) -> str:
    """Runs the benchmark on SQLite; what it printed."""
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
    """The JSON of that name, after a look at the Markdown beside it: each row of a table has as many cells as its head."""
    page = (output / f"{name}.md").read_text()
    assert page.startswith("# ")
    for table in page.split("\n\n"):
        assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) <= 1, (
            table
        )
    return json.loads((output / f"{name}.json").read_text())


def test_comparison(tmp_path: Path) -> None:
    """Every contestant has its laps, the aims are judged, the chart is a picture with a bar for each size, and no recording is left."""
    printed = bench(
        tmp_path, "--events", "300", "--slow-events", "50", "--rounds", "1", "--chart", "100"
    )
    laps = written(tmp_path, "bench")
    contestants = {(lap["contestant"], lap["recording"], lap["batch"]) for lap in laps}
    assert contestants - {("streamdb", "mixed", None)} == {
        ("durable_state", "mixed", None),
        ("durable_state", "mixed", 100),
        ("durable_state", "hot", None),
        ("bulk_create", "mixed", None),
        ("update_or_create", "mixed", None),
        ("floor", "mixed", None),
        ("decode", "hot", None),
    }
    assert ("streamdb", "mixed", None) in contestants or "StreamDB is left out: " in printed
    assert all(lap["wall"] > 0 and lap["cpu"] > 0 and lap["peak_mb"] > 0 for lap in laps)
    assert "| SQLite | at least 6 times `bulk_create(update_conflicts)` |" in printed
    picture = ElementTree.parse(tmp_path / "batches.svg").getroot()
    assert len(picture.findall("{*}rect[@class='bar0']")) == 3  # one of them in the legend
    assert {path.name for path in tmp_path.iterdir()} == {"bench.md", "bench.json", "batches.svg"}


def test_memory(tmp_path: Path) -> None:
    """A response and a snapshot, each read in one go and by two processes of which the first was killed in the middle."""
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
    """Rows and snapshots are seen at the stages that are theirs."""
    bench(tmp_path, "--profile", "--events", "5000")
    mixed, snapshot = written(tmp_path, "profile")
    assert "preparing, conversion" in mixed["stages"]
    assert any(stage.startswith("staging and switching snapshots") for stage in snapshot["stages"])


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
    """Rows have the same digest in any order, and another one where a row, a value or a key is another."""
    assert digest_of(ROWS) == digest_of(reversed(ROWS)) != digest_of(wrong)
