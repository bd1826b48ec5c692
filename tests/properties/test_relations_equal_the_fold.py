"""Parents and unique values: the largest possible part of the fold is shown, however the stream
was cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections, transaction
from hypothesis import given
from hypothesis import strategies as st

from durable_state.consumer import release
from durable_state.models import DeadLetter, ParkedChange, Stream
from tests.app.models import Author, Clipping, DoorKey, Folder, Lock, Player, Team, Twin
from tests.examples import lenient
from tests.tables import apply_batch
from tests.wire import END

from .support.folding import Entity, Fold, fold
from .support.streams import controls, cut_anywhere

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("writer"),
]


KEYS = "abcd"
PARENTS = {
    "folder": ("parent", "folder", False),
    "team": ("captain", "player", True),
    "player": ("team", "team", False),
    "twin": ("other", "twin", False),
    "lock": ("spare", "doorkey", False),
    "doorkey": ("lock", "lock", False),
}
"""Type: the field that names a parent, the parent's type, whether it may be NULL."""
TABLES = {
    "folder": (Folder, "key", "parent__key"),
    "team": (Team, "key", "captain__key"),
    "player": (Player, "key", "team__key"),
    "twin": (Twin, "code", "other__code"),
    "lock": (Lock, "key", "spare__key"),
    "doorkey": (DoorKey, "key", "lock__key"),
}
UNIQUE = {"twin", "doorkey"}
"""Types whose parent is nobody else's."""


@st.composite
def _changes(draw: st.DrawFn, types: list[str]) -> dict[str, Any]:
    entity_type = draw(st.sampled_from(types))
    name, _, nullable = PARENTS[entity_type]
    operation = draw(st.sampled_from(["insert", "update", "upsert", "insert", "delete"]))
    message: dict[str, Any] = {
        "type": entity_type,
        "key": draw(st.sampled_from(KEYS)),
        "headers": {"operation": operation},
    }
    if operation != "delete":
        message["value"] = {name: draw(st.sampled_from([*KEYS, None] if nullable else list(KEYS)))}
    return message


def _batches(types: list[str]) -> st.SearchStrategy[list[tuple[list[dict[str, Any]], bool]]]:
    change = _changes(types)
    some = st.one_of(change, change, change, change, change, controls)
    return cut_anywhere(st.lists(some, max_size=24))


def parents(messages: list[dict[str, Any]]) -> Fold:
    """The fold, with the key of each entity's parent as its value."""
    return {entity: value[PARENTS[entity[0]][0]] for entity, value in fold(messages).items()}


def parent_of(entity: Entity, folded: Fold) -> Entity | None:
    return None if folded[entity] is None else (PARENTS[entity[0]][1], folded[entity])


def closed(folded: Fold, among: set[Entity], beside: set[Entity]) -> set[Entity]:
    """The largest part of ``among`` whose parents are in it, or in ``beside``."""
    part = set(among)
    while gone := {
        e for e in part if (p := parent_of(e, folded)) is not None and p not in part | beside
    }:
        part -= gone
    return part


def rows(using: str) -> Fold:
    return {
        (entity_type, key): parent
        for entity_type, (model, key_field, parent_field) in TABLES.items()
        for key, parent in model._base_manager.using(using).values_list(key_field, parent_field)
    }


def parked_without(stream: Stream) -> set[Entity]:
    """The parked entities; meanwhile they show an older row or none."""
    parked = ParkedChange.objects.using(stream.using).filter(stream=stream)
    assert not parked.filter(reason=ParkedChange.Reason.LINK).exists()
    return set(parked.values_list("type", "key"))


def stale_of(stream: Stream) -> set[Entity]:
    """The parked entities that show an older row."""
    parked = ParkedChange.objects.using(stream.using).filter(stream=stream, stale=True)
    return set(parked.values_list("type", "key"))


@contextmanager
def ring(using: str) -> Iterator[Stream]:
    """The stream of circles, for one example."""
    stream = Stream.objects.using(using).create(name="ring", url="http://tests.invalid/ring")
    try:
        yield stream
    finally:
        clear(using, *(table[0] for table in TABLES.values()))
        stream.delete()


def clear(using: str, *tables: Any) -> None:
    with transaction.atomic(using=using), connections[using].constraint_checks_disabled():
        for model in reversed(tables):
            model._base_manager.using(using).all()._raw_delete(using)


def apply_all(stream: Stream, cut: list[tuple[list[dict[str, Any]], bool]]) -> list[dict[str, Any]]:
    """Applies the batches, and whatever is needed to have everything shown; returns all
    messages.
    """
    for batch, up_to_date in cut:
        apply_batch(stream, batch, up_to_date)
    apply_batch(stream, [END], True)
    return [*(message for batch, _ in cut for message in batch), END]


@lenient(25)
@given(cut=_batches(["folder", "team", "player"]))
def test_the_greatest_closed_part_is_shown(
    database: str, cut: list[tuple[list[dict[str, Any]], bool]]
) -> None:
    """Circles, lines and everything attached to them: entities with all their parents are shown,
    the rest is parked, nothing is refused.
    """
    with ring(database) as stream:
        folded = parents(apply_all(stream, cut))
        found, waiting, stale = rows(database), parked_without(stream), stale_of(stream)
        # A stale row exists, so others can point to it.
        shown = closed(folded, set(folded), stale)
        assert waiting == set(folded) - shown
        assert found.keys() == shown | stale
        assert {e: parent for e, parent in found.items() if e not in stale} == {
            entity: folded[entity] for entity in shown
        }
        assert not DeadLetter.objects.using(database).exists()
        counts = [getattr(stream, f.name) for f in Stream._meta.fields if f.name.endswith("_count")]
        assert sum(counts) == stream.ordinal
        assert min(counts) >= 0


@lenient(25)
@given(cut=_batches(["twin", "lock", "doorkey"]))
def test_circles_of_unique_parents(
    database: str, cut: list[tuple[list[dict[str, Any]], bool]]
) -> None:
    """Each row equals the fold; parked entities have a reason, and none of them could be shown
    as they are.
    """
    with ring(database) as stream:
        folded = parents(apply_all(stream, cut))
        found, waiting, stale = rows(database), parked_without(stream), stale_of(stream)
        assert found.keys() | waiting == folded.keys()
        assert found.keys() & waiting == stale
        shown = {entity: parent for entity, parent in found.items() if entity not in stale}
        assert shown == {entity: folded[entity] for entity in shown}
        assert not DeadLetter.objects.using(database).exists()
        held = {(entity[0], parent) for entity, parent in shown.items() if entity[0] in UNIQUE}
        free = {entity for entity in waiting if (entity[0], folded[entity]) not in held}
        could = closed(folded, free, set(found))
        claims = [(entity[0], folded[entity]) for entity in could if entity[0] in UNIQUE]
        assert not could or len(set(claims)) < len(claims), could


_clippings = st.builds(
    lambda key, operation, folder, author: {
        "type": "clipping",
        "key": key,
        "headers": {"operation": operation},
        **({} if operation == "delete" else {"value": {"folder": folder, "author": author}}),
    },
    st.sampled_from(KEYS),
    st.sampled_from(["insert", "update", "delete"]),
    st.sampled_from("ab"),
    st.sampled_from(["a", "b", None]),
)
_folders = st.sampled_from("ab").map(
    lambda key: {
        "type": "folder",
        "key": key,
        "headers": {"operation": "insert"},
        "value": {"parent": key},
    }
)
_authors = st.sampled_from("ab").map(
    lambda key: {"type": "author", "key": key, "headers": {"operation": "insert"}, "value": {}}
)
_commits = st.lists(
    st.one_of(
        st.tuples(st.just("press-1"), st.lists(_clippings, max_size=4)),
        st.tuples(st.just("press-2"), st.lists(_clippings, max_size=4)),
        st.tuples(st.just("ring"), st.lists(_folders, max_size=2)),
        st.tuples(st.just("wire"), st.lists(_authors, max_size=2)),
        st.tuples(st.sampled_from(["press-1", "press-2"]), st.none()),
    ),
    max_size=12,
)


@lenient(25)
@given(commits=_commits)
def test_parents_of_two_other_streams(
    database: str, commits: list[tuple[str, list[dict[str, Any]] | None]]
) -> None:
    """Commits of four streams in any order, with checks for waiting changes: in the end each
    child with shown parents is shown.
    """
    names = ["press-1", "press-2", "ring", "wire"]
    streams = {
        name: Stream.objects.using(database).create(name=name, url=f"http://tests.invalid/{name}")
        for name in names
    }
    try:
        folded: dict[tuple[str, str], Any] = {}
        there: set[tuple[str, str]] = set()
        for name, batch in commits:
            if batch is None:
                release(streams[name], None)
                continue
            apply_batch(streams[name], batch, True)
            for message in batch:
                if message["type"] != "clipping":
                    there.add((message["type"], message["key"]))
                    continue
                folded.pop((name, message["key"]), None)
                if "value" in message:
                    folded[name, message["key"]] = (
                        message["value"]["folder"],
                        message["value"]["author"],
                    )
        for name in names[:2]:
            release(streams[name], None)
            assert release(streams[name], None) is None
        wanted = {
            entity: (folder, author)
            for entity, (folder, author) in folded.items()
            if ("folder", folder) in there and (author is None or ("author", author) in there)
        }
        parked = ParkedChange.objects.using(database)
        stale = set(parked.filter(stale=True).values_list("stream__name", "key"))
        found = Clipping.objects.using(database).values_list(
            "stream__name", "key", "folder__key", "author__key"
        )
        shown = {(name, key): parents for name, key, *parents in found}
        assert shown.keys() == wanted.keys() | stale
        assert {e: parents for e, parents in shown.items() if e not in stale} == {
            e: list(p) for e, p in wanted.items()
        }
        waiting = set(parked.values_list("stream__name", "key"))
        assert waiting == folded.keys() - wanted.keys()
    finally:
        clear(database, Author, Folder, Clipping)
        for stream in streams.values():
            stream.delete()
