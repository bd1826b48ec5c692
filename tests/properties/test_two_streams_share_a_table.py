"""Two streams in one table, with values that are unique across both: each is its own fold, and
entities that wait lose to a shown row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_state.consumer import release
from durable_state.models import DeadLetter, ParkedChange, Stream
from tests.app.models import Person, Room
from tests.examples import lenient
from tests.tables import apply_batch
from tests.wire import END

from .support.folding import fold
from .support.streams import controls

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("writer"),
]


NAMES = ["east", "west"]
KEYS = "abc"


@st.composite
def _changes(draw: st.DrawFn) -> dict[str, Any]:
    operation = draw(st.sampled_from(["insert", "update", "upsert", "insert", "delete"]))
    message: dict[str, Any] = {
        "type": "person",
        "key": draw(st.sampled_from(KEYS)),
        "headers": {"operation": operation},
    }
    if operation != "delete":
        message["value"] = {
            "email": draw(st.sampled_from(["x", "y", "z", None])),
            "boss": draw(st.sampled_from([*KEYS, None])),
        }
    return message


_change = _changes()
_batches = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.lists(st.one_of(_change, _change, _change, _change, controls), max_size=6),
        st.booleans(),
    ),
    max_size=10,
)
"""The stream, the messages, and whether they reach its tail."""


@contextmanager
def rooms(using: str) -> Iterator[dict[str, Stream]]:
    """Both streams, for one example."""
    streams = {
        name: Stream.objects.using(using).create(name=name, url=f"http://tests.invalid/{name}")
        for name in NAMES
    }
    for name, stream in streams.items():
        Room.objects.using(using).create(title=name, stream=stream)
    try:
        yield streams
    finally:
        Person.objects.using(using).all().delete()
        for stream in streams.values():
            stream.delete()


@lenient(25)
@given(commits=_batches)
def test_each_is_its_own_fold(
    database: str, commits: list[tuple[str, list[dict[str, Any]], bool]]
) -> None:
    """A boss belongs to the same stream, an e-mail address to one person of both."""
    commits = [*commits, *((name, [END], True) for name in NAMES)]
    with rooms(database) as streams:
        for name, batch, up_to_date in commits:
            apply_batch(streams[name], batch, up_to_date)
        for name in NAMES * 2:
            release(streams[name], None)
            assert release(streams[name], None) is None

        folded = {
            (name, key): value
            for name in NAMES
            for (_, key), value in fold(
                [message for of, batch, _ in commits if of == name for message in batch]
            ).items()
        }
        people = Person.objects.using(database).select_related("room", "boss__room")
        rows = {(row.room.title, row.key): row for row in people}
        parked = {
            (each.stream.name, each.key): each
            for each in ParkedChange.objects.using(database).select_related("stream")
        }
        waiting = {who for who, each in parked.items() if each.reason != "link"}
        stale = {who for who in waiting if parked[who].stale}

        assert not DeadLetter.objects.using(database).exists()
        assert rows.keys() | waiting == folded.keys()
        assert rows.keys() & waiting == stale
        for who in rows.keys() - stale:
            assert rows[who].email == folded[who]["email"], who
            boss = who[0], folded[who]["boss"]
            assert rows[who].boss == rows.get(boss), who
            assert (who in parked) == (boss[1] is not None and boss not in rows), who
        holders = {rows[who].email for who in rows.keys() - stale}
        for who in waiting:
            assert folded[who]["email"] in holders, who
