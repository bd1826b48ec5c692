"""Whether a batch is committed optimistically or carefully, the stored result is the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from durable_state.consumer import commits, optimistic
from durable_state.models import (
    DeadLetter,
    FeedEntry,
    KeptRow,
    ParkedChange,
    Status,
    Stream,
    TypeState,
)
from tests.app.models import Person, Room
from tests.examples import lenient
from tests.tables import apply_batch, fresh_stream, rows_of, strict
from tests.wire import change

from .support.streams import batches, items

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


Batches = list[tuple[list[Any], bool]]
Edits = dict[int, dict[str, Any]]

NAMES = "abc"


@st.composite
def _people(draw: st.DrawFn) -> Batches:
    """People, who have an address of their own and name each other as bosses, a few at a time."""
    person = st.builds(
        change,
        st.just("person"),
        st.sampled_from(NAMES),
        st.sampled_from(["insert", "update", "upsert", "upsert", "delete"]),
        email=st.sampled_from(["x", "y", "z", None, 5]),
        boss=st.sampled_from([*NAMES, None, None]),
    )
    return draw(st.lists(st.tuples(st.lists(person, min_size=1, max_size=3), st.booleans())))


@st.composite
def _tame(draw: st.DrawFn) -> Batches:
    """Changes that nobody refuses, a few at a time."""
    operations = st.sampled_from(["insert", "update", "update", "upsert", "delete"])
    keys, numbers = st.sampled_from(NAMES), st.integers(0, 3)
    one = st.one_of(
        st.builds(change, st.just("message"), keys, operations, text=keys, likes=numbers),
        st.builds(change, st.just("profile"), keys, operations, score=numbers),
        st.builds(change, st.just("setting"), keys, operations, value=st.none() | numbers),
        st.builds(change, st.just("score"), numbers.map(str), operations, points=numbers),
    )
    return draw(st.lists(st.tuples(st.lists(one, min_size=1, max_size=3), st.booleans())))


one_by_one = items.map(lambda some: [([item], True) for item in some])


@lenient(40)
@given(cut=st.one_of(_tame(), one_by_one, batches()))
def test_of_rows_by_themselves(database: str, cut: Batches) -> None:
    """Messages, profiles, settings and scores, with everything that can be wrong with them."""
    event(f"committed optimistically: {min(_commit_both_ways(database, cut), 3)}")


@lenient(40)
@given(cut=_people())
def test_of_rows_that_need_others(database: str, cut: Batches) -> None:
    """Parents, and values that must be unique."""
    event(f"committed optimistically: {min(_commit_both_ways(database, cut), 3)}")


EDITS = st.sampled_from(
    [
        {},
        {},
        {"paused": True},
        {"paused": False, "live": "long-poll"},
        {"heartbeat_seconds": 9, "detour": "by long-poll"},
        {"status": Status.RETRYING, "failures": 3, "last_error": "away", "action": "wait"},
    ]
)
"""What others write into a stream's row without a commit: operators, or a reader that failed."""


@lenient(40)
@given(cut=st.lists(st.tuples(_tame(), EDITS), max_size=4))
def test_while_others_edit_the_stream(database: str, cut: list[tuple[Batches, Any]]) -> None:
    """Their writes are kept, or overwritten, and known to the caller, whichever path is taken."""
    together: Batches = []
    edits: Edits = {}
    for some, edit in cut:
        edits[len(together)] = edit
        together += some
    _commit_both_ways(database, together, edits)


def test_an_edited_stream_is_committed_carefully_once(database: str) -> None:
    """Afterwards its object equals the row, and commits are direct again."""
    cut = [([change("message", "m", text=str(number))], True) for number in range(5)]
    edits = {2: {"paused": True, "detour": "by long-poll"}}
    assert _commit_both_ways(database, cut, edits) == len(cut) - 2


def test_what_is_ordinary(database: str) -> None:
    """A change of an ordinary row is committed directly: new, different, the same, and deleted."""
    cut = [
        ([change("person", "a", email="x", boss=None)], True),
        ([change("person", "b", email="y", boss="a")], True),
        ([change("person", "b", email="z", boss="a")], True),
        ([change("person", "b", email="z", boss="a")], True),
        ([change("message", "m", text="t")], True),
        ([change("message", "m", "delete"), change("message", "n", text="t")], False),
        ([], True),
    ]
    # The first commit of each type claims its table and writes its state.
    assert _commit_both_ways(database, cut) == len(cut) - 2


def _commit_both_ways(database: str, cut: Batches, edits: Edits | None = None) -> int:
    """How many batches were committed optimistically.

    ``edits`` are written into the stream's row before the batches with these numbers.
    """
    with _counting() as direct:
        optimistically = _stored_of(database, cut, edits or {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commits, "commit_ordinary", lambda *args, **kwargs: None)
        carefully = _stored_of(database, cut, edits or {})
    assert optimistically == carefully
    return len(direct)


def _stored_of(database: str, cut: Batches, edits: Edits) -> dict[str, Any]:
    """What is stored of a new stream of these batches; the stream is removed afterwards."""
    with fresh_stream(database) as stream:
        Room.objects.using(database).create(stream=stream)
        for number, (batch, up_to_date) in enumerate(cut):
            if edit := edits.get(number):
                Stream.objects.using(database).filter(pk=stream.pk).update(**edit)
            apply_batch(stream, batch, up_to_date)
        return _stored(stream)


@contextmanager
def _counting() -> Iterator[list[Any]]:
    """Counts the optimistic commits while the block runs."""
    done: list[Any] = []
    commit_ordinary = optimistic.commit_ordinary

    def counting(*args: Any, **kwargs: Any) -> Any:
        if (found := commit_ordinary(*args, **kwargs)) is not None:
            done.append(found)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commits, "commit_ordinary", counting)
        yield done


def _stored(stream: Stream) -> dict[str, Any]:
    """Everything that is stored of a stream, except what differs between any two."""
    using = stream.using
    held = Stream.objects.using(using).get(pk=stream.pk)
    entries = FeedEntry.objects.using(using).filter(stream=stream)
    people = Person.objects.using(using).filter(room__stream=stream)
    of_stream = [
        DeadLetter.objects.using(using).filter(stream=stream, generation=0),
        ParkedChange.objects.using(using).filter(stream=stream),
        KeptRow.objects.using(using).filter(stream=stream),
        TypeState.objects.using(using).filter(stream=stream),
    ]
    return {
        "rows": strict(rows_of(stream)),
        "people": sorted(people.values_list("key", "email", "boss__key")),
        "stream": {name: getattr(held, name) for name in _columns(Stream)},
        "known to the caller": {name: getattr(stream, name) for name in _columns(Stream)},
        "feed": [
            (sorted(json.loads(bytes(changes)), key=repr), bytes(txids), *rest)
            for changes, txids, *rest in entries.values_list(
                "changes", "txids", "snapshot", "up_to_date", "revision"
            )
        ],
        **{
            rows.model.__name__: sorted(
                map(repr, rows.order_by().values_list(*_columns(rows.model)))
            )
            for rows in of_stream
        },
    }


MOMENTS = {"created_at", "logged_at", "up_to_date_at", "since", "moved_at", "rate"}
DIFFERING = {"id", "stream", "name", "url", "columns"} | MOMENTS
"""What no two streams have in common: numbers, names and moments."""


def _columns(model: Any) -> list[str]:
    names = {field.name for field in model._meta.concrete_fields} - DIFFERING
    return sorted(names - {"snapshot", "rebuild"})
