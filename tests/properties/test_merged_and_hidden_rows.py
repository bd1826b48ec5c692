"""Rows that updates merge into, and rows that a mapping hides: entities that wait for them end
as in the fold, and the application's data survives.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import lenient
from tests.mappings import remap
from tests.wire import END

from .support.folding import REFUSED, fold
from .support.grove import check_identities, check_rows, grove, held_throughout, run, streams
from .support.hiding import HidingBranches, HidingLeaves, hiding

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("writer"),
]


Stream = tuple[list[dict[str, Any]], list[int]]

DEFAULTS: dict[str, dict[str, Any]] = {"branch": {"slug": "", "boss": None}, "leaf": {"tag": None}}
WHOLE = {"branch": {"slug", "boss"}, "leaf": {"branch", "tag"}}


def merging(message: dict[str, Any], before: Any) -> Any:
    """What mappings that merge, and hide, make of a message."""
    if hiding(message, before) is None:
        return None
    of_type = message["type"]
    is_merged = message["headers"]["operation"] == "update" and before is not None
    value = DEFAULTS[of_type] | (before if is_merged else {}) | message["value"]
    return value if value.keys() == WHOLE[of_type] else REFUSED


@st.composite
def partial_streams(draw: st.DrawFn) -> Stream:
    """Streams of changes that leave out some of their fields."""
    messages, cuts = draw(streams(["branch", "leaf", "leaf"], with_controls=True))
    for message in messages:
        if "value" in message:
            left_out = draw(st.sampled_from([None, *sorted(WHOLE[message["type"]])]))
            message["value"].pop(left_out, None)
    return messages, cuts


@lenient(25)
@given(stream_of=streams(["branch", "leaf", "leaf"], with_controls=True), first=st.integers(0, 8))
def test_hidden_parents_and_hidden_holders(database: str, stream_of: Stream, first: int) -> None:
    """A hidden row is nobody's parent, and has no unique value."""
    remap("branch", HidingBranches)
    remap("leaf", HidingLeaves)
    messages, cuts = stream_of
    first, messages = min(first, len(messages)), [*messages, END]
    with grove(database) as stream:
        before, seen = run(stream, messages, cuts, first)
        assert not seen.letters
        check_rows(seen, fold(messages, hiding))
        check_identities(before, seen, held_throughout(messages, first, hiding))


@lenient(25)
@given(stream_of=partial_streams(), first=st.integers(0, 8))
def test_merged_children_and_parents(database: str, stream_of: Stream, first: int) -> None:
    """For fields that it leaves out, an update keeps the newest accepted value, shown or not."""
    remap("branch", HidingBranches, update_mode="merge")
    remap("leaf", HidingLeaves, update_mode="merge")
    messages, cuts = stream_of
    first, messages = min(first, len(messages)), [*messages, END]
    with grove(database) as stream:
        before, seen = run(stream, messages, cuts, first)
        assert {reason for *_, reason in seen.letters} <= {"null"}
        check_rows(seen, fold(messages, merging))
        check_identities(before, seen, held_throughout(messages, first, merging))
