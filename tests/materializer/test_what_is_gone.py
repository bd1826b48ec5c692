"""If a commit changes too much to be listed, the deleted entities are still listed, up to a
higher limit.
"""

from __future__ import annotations

import pytest

from durable_state.materializer import Outcome, changes


def test_deleted_rows_stay_listed() -> None:
    """Those from before and after it became too much; one that is written again is not gone."""
    outcome = Outcome(listed=3)
    outcome.changed("t", ["a", "b"], deleted=True)
    outcome.changed("t", ["c", "d", "e"], deleted=False)
    assert outcome.too_many
    assert not outcome.changes
    outcome.changed("t", ["f", "g", "h", "i"], deleted=True)
    outcome.changed("t", ["a", "f"], deleted=False)
    assert outcome.gone is not None
    assert {key for _, key in outcome.gone} == {"b", "g", "h", "i"}


def test_so_are_those_of_one_large_deletion_and_of_a_part() -> None:
    """In whatever order they come."""
    part, outcome = Outcome(listed=3), Outcome(listed=3)
    part.changed("t", list("vwxyz"), deleted=True)
    outcome.changed("t", ["a"], deleted=True)
    outcome.changed("t", ["b"], deleted=False)
    outcome.take_changes(part)
    assert outcome.gone is not None
    assert {key for _, key in outcome.gone} == set("avwxyz")


def test_beyond_a_bound_they_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader has to start over then."""
    monkeypatch.setattr(changes, "LISTED", 5)
    outcome = Outcome(listed=3)
    outcome.changed("t", list("abcdef"), deleted=True)
    assert outcome.gone is None
    outcome.changed("t", ["a"], deleted=False)
    assert outcome.gone is None
