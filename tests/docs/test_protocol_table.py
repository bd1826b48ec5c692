"""The page about the protocol names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDERS = ["rest/feed", "interop", "websocket"]


def test_the_tests_that_it_names_exist() -> None:
    """In the folders that it says."""
    page = (CHECKOUT / "docs" / "reference" / "durable-streams.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    modules = [each for name in FOLDERS for each in (CHECKOUT / "tests" / name).glob("test_*.py")]
    defined = {
        name for each in modules for name in re.findall(r"def (test_\w+)\(", each.read_text())
    }
    assert len(named) > 20
    assert named <= defined
