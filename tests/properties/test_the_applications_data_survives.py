"""However the stream is cut: the rows are the fold's, and nobody's columns, keys or rows are
lost on the way.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_state.consumer import release
from durable_state.models import KeptRow
from tests.app.grove import Guard
from tests.examples import lenient
from tests.wire import END, change

from .support.folding import fold
from .support.grove import (
    KEYS,
    check_identities,
    check_rows,
    grove,
    held_throughout,
    look,
    run,
    streams,
)

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("writer"),
]


@lenient(25)
@given(stream_of=streams(["branch", "leaf", "leaf"], with_controls=True), first=st.integers(0, 8))
def test_rows_and_what_the_application_has_in_them(
    database: str, stream_of: tuple[list[dict[str, Any]], list[int]], first: int
) -> None:
    """Parents, unique values and both: the fold's rows; primary keys, columns and rows of the
    application survive.
    """
    messages, cuts = stream_of
    first, messages = min(first, len(messages)), [*messages, END]
    with grove(database) as stream:
        before, batched = run(stream, messages, cuts, first)
        check_rows(batched, fold(messages))
        check_identities(before, batched, held_throughout(messages, first))
        kept = set(KeptRow.objects.using(database).values_list("type", "key"))
        assert kept <= batched.waiting.keys() - batched.rows.keys()
        assert not batched.letters


def test_a_stale_row_yields_to_one_that_is_its_own_parent(database: str) -> None:
    """Its change is tried again beside the other, loses again, and then the row is hidden."""
    messages = [
        change("branch", "a", slug="x", boss=None),
        change("branch", "c", slug="w", boss=None),
        change("branch", "c", slug="x", boss=None),
        change("branch", "b", slug="w", boss="b"),
    ]
    with grove(database) as stream:
        _, seen = run(stream, messages, [1, 2, 3, 4], 0)
        assert {key for _, key in seen.rows} == {"a", "b"}
        assert {key for _, key in seen.waiting} == {"c"}


@lenient(25)
@given(stream_of=streams(["branch", "leaf"], with_controls=False), first=st.integers(0, 8))
def test_a_batch_takes_no_more_than_its_messages_one_by_one(
    database: str, stream_of: tuple[list[dict[str, Any]], list[int]], first: int
) -> None:
    """Rows of the application that survive with a commit for each message survive in any batch.

    The application adds them when both have the same rows, including the older ones of waiting
    entities.
    """
    messages, cuts = stream_of
    first, messages = min(first, len(messages)), [*messages, END]
    cuts = [*range(first), *(cut for cut in cuts if cut > first)]
    with grove(database) as stream:
        _, single = run(stream, messages, list(range(len(messages))), first)
    with grove(database) as stream:
        _, batched = run(stream, messages, cuts, first)
        # A contested value may go to either; entities that are shown in both have kept their data.
        shown = {key for kind, key in single.rows.keys() & batched.rows.keys() if kind == "leaf"}
        assert single.marked & shown <= batched.marked


@lenient(25)
@given(
    stream_of=streams(["branch", "leaf", "leaf"], with_controls=True),
    first=st.integers(0, 8),
    guarded=st.sets(st.sampled_from(KEYS)),
    freed=st.one_of(st.just(-1), st.integers(0, 16)),
)
def test_protected_rows_go_when_nothing_protects_them(
    database: str,
    stream_of: tuple[list[dict[str, Any]], list[int]],
    first: int,
    guarded: set[str],
    freed: int,
) -> None:
    """Until then they stay complete, whatever else happens; afterwards the rows are the fold's,
    whether or not the stream continues meanwhile.
    """
    messages, cuts = stream_of
    first, messages = min(first, len(messages)), [*messages, END]
    with grove(database) as stream:
        before, seen = run(stream, messages, cuts, first, guarded, min(freed, len(messages)))
        assert {reason for *_, reason in seen.letters} <= {"protected"}
        for leaf in Guard.objects.using(database).select_related("leaf"):
            entity = ("leaf", leaf.leaf.key)
            assert seen.identities[entity] == before.identities[entity]
        Guard.objects.using(database).all().delete()
        release(stream, None)
        release(stream, None)
        after = look(stream)
        assert not after.letters
        check_rows(after, fold(messages))


@lenient(25)
@given(stream_of=streams(["sign"], with_controls=True), first=st.integers(0, 8))
def test_values_that_only_the_database_compares(
    database: str, stream_of: tuple[list[dict[str, Any]], list[int]], first: int
) -> None:
    """Unique by an expression: never a letter, and the rows keep what they have."""
    messages, cuts = stream_of
    first, messages = min(first, len(messages)), [*messages, END]
    with grove(database) as stream:
        before, seen = run(stream, messages, cuts, first)
        assert not seen.letters
        check_rows(seen, fold(messages))
        check_identities(before, seen, held_throughout(messages, first))


@lenient(25)
@given(stream_of=streams(["country", "city", "city"], with_controls=True), first=st.integers(0, 8))
def test_children_follow_what_names_their_parents(
    database: str, stream_of: tuple[list[dict[str, Any]], list[int]], first: int
) -> None:
    """Foreign keys by ``to_field``: a child is with the parent that the stream says."""
    messages, cuts = stream_of
    first, messages = min(first, len(messages)), [*messages, END]
    with grove(database) as stream:
        before, seen = run(stream, messages, cuts, first)
        assert not seen.letters
        check_rows(seen, fold(messages))
        check_identities(before, seen, held_throughout(messages, first))
