"""However the stream is cut:
the rows are the fold's, and nobody's columns, keys or rows are lost on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from django.db import connections, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable_state.consumer import release
from durable_state.models import DeadLetter, KeptRow, ParkedChange, Stream
from tests.app.grove import Branch, City, Country, Guard, Leaf, Mark, Sign
from tests.examples import examples
from tests.tables import apply_batch
from tests.wire import END

from .support.folding import Entity, Fold, fold
from .support.streams import controls

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("writer"),
]

lenient = settings(
    deadline=None,
    max_examples=examples(25),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


KEYS = "abc"
TABLES: list[Any] = [Mark, Guard, Leaf, Branch, City, Country, Sign]


class Seen(NamedTuple):
    """What the tables show, and what the application has there."""

    rows: Fold
    stale: set[Entity]
    waiting: dict[Entity, str]
    identities: dict[Entity, tuple[Any, str]]
    marked: set[str]
    letters: set[tuple[str, str, str]]


_VALUES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "branch": st.fixed_dictionaries(
        {"slug": st.sampled_from("uvwx"), "boss": st.sampled_from([None, None, *KEYS])}
    ),
    "leaf": st.fixed_dictionaries(
        {"branch": st.sampled_from(KEYS), "tag": st.sampled_from([None, "t", "u"])}
    ),
    "sign": st.fixed_dictionaries({"email": st.sampled_from(["m", "M", "n", "N", "o"])}),
    "country": st.fixed_dictionaries({"code": st.sampled_from("xyz")}),
    "city": st.fixed_dictionaries({"country": st.sampled_from(KEYS)}),
}


@st.composite
def _changes(draw: st.DrawFn, types: list[str]) -> dict[str, Any]:
    entity_type = draw(st.sampled_from(types))
    message: dict[str, Any] = {
        "type": entity_type,
        "key": draw(st.sampled_from(KEYS)),
        "headers": {"operation": draw(st.sampled_from(["insert", "update", "upsert", "delete"]))},
    }
    if message["headers"]["operation"] != "delete":
        message["value"] = draw(_VALUES[entity_type])
    return message


@st.composite
def _streams(
    draw: st.DrawFn, types: list[str], with_controls: bool
) -> tuple[list[dict[str, Any]], list[int]]:
    """Messages, and where they are cut."""
    change = _changes(types)
    some = st.one_of(change, change, change, change, controls) if with_controls else change
    messages = draw(st.lists(some, max_size=16))
    cuts = draw(st.lists(st.integers(0, len(messages)), max_size=4))
    return messages, sorted({0, len(messages), *cuts})


def held_throughout(messages: list[dict[str, Any]], start: int) -> set[Entity]:
    """The entities that the stream held after the first ``start`` messages,
    and after each later one.
    """
    held = set(fold(messages[:start]))
    for end in range(start, len(messages) + 1):
        held &= set(fold(messages[:end]))
    return held


@contextmanager
def grove(using: str) -> Iterator[Stream]:
    """The stream, for one example."""
    stream = Stream.objects.using(using).create(name="grove", url="http://tests.invalid/grove")
    try:
        yield stream
    finally:
        with transaction.atomic(using=using), connections[using].constraint_checks_disabled():
            for model in TABLES:
                model._base_manager.using(using).all()._raw_delete(using)
        stream.delete()


def look(stream: Stream) -> Seen:
    using = stream.using
    rows: Fold = {}
    identities: dict[Entity, tuple[Any, str]] = {}
    for row in Branch.objects.using(using).select_related("boss"):
        rows["branch", row.key] = {"slug": row.slug, "boss": row.boss.key if row.boss else None}
        identities["branch", row.key] = (row.pk, row.note)
    for leaf in Leaf.objects.using(using).select_related("branch"):
        rows["leaf", leaf.key] = {"branch": leaf.branch.key, "tag": leaf.tag}
        identities["leaf", leaf.key] = (leaf.pk, leaf.note)
    for sign in Sign.objects.using(using):
        rows["sign", sign.key] = {"email": sign.email}
        identities["sign", sign.key] = (sign.pk, sign.note)
    for country in Country.objects.using(using):
        rows["country", country.key] = {"code": country.code}
        identities["country", country.key] = (country.pk, "")
    for city in City.objects.using(using).select_related("country"):
        rows["city", city.key] = {"country": city.country.key}
        identities["city", city.key] = (city.pk, "")
    parked = ParkedChange.objects.using(using).filter(stream=stream)
    letters = DeadLetter.objects.using(using).filter(stream=stream)
    return Seen(
        rows,
        {(each.type, each.key) for each in parked if each.stale},
        {(each.type, each.key): each.reason for each in parked},
        identities,
        set(Mark.objects.using(using).values_list("leaf__key", flat=True)),
        set(letters.values_list("type", "key", "reason")),
    )


def run(
    stream: Stream,
    messages: list[dict[str, Any]],
    cuts: list[int],
    first: int,
    guarded: set[str] = frozenset(),  # type: ignore[assignment]
) -> tuple[Seen, Seen]:
    """Applies the messages, the first ones alone;
    what is seen when the application has added its own, and at the end.
    """
    using = stream.using
    bounds = sorted({*cuts, first, len(messages)})
    before = look(stream)
    for start, end in zip([0, *bounds], bounds, strict=False):
        if start < end:
            apply_batch(stream, messages[start:end], True)
        if end == first:
            for model in (Branch, Leaf, Sign):
                for row in model._base_manager.using(using).all():
                    model._base_manager.using(using).filter(pk=row.pk).update(note=f"my {row.key}")
            for leaf in Leaf.objects.using(using).all():
                Mark.objects.using(using).create(leaf=leaf)
                if leaf.key in guarded:
                    Guard.objects.using(using).create(leaf=leaf)
            before = look(stream)
    release(stream, None)
    return before, look(stream)


PARENTS = {
    "branch": ("boss", "branch"),
    "leaf": ("branch", "branch"),
    "city": ("country", "country"),
}
UNIQUE = {
    "branch": lambda value: value["slug"],
    "leaf": lambda value: value["tag"],
    "sign": lambda value: value["email"].lower(),
    "country": lambda value: value["code"],
}


def check_rows(seen: Seen, folded: Fold, deleted_rows_that_stay: set[Entity] = frozenset()) -> None:  # type: ignore[assignment]
    """Each entity is shown as the fold has it, or parked for a reason that holds;
    nothing else is there.
    """
    shown = {e: value for e, value in seen.rows.items() if e not in seen.stale}
    for entity in deleted_rows_that_stay:
        shown.pop(entity, None)
    assert shown.keys() | seen.waiting.keys() == folded.keys()
    assert not shown.keys() & seen.waiting.keys()
    assert shown == {entity: folded[entity] for entity in shown}
    for entity, reason in seen.waiting.items():
        value = folded[entity]
        if reason == "parent":
            name, parent_type = PARENTS[entity[0]]
            assert value[name] is not None
            assert (parent_type, value[name]) not in seen.rows, entity
        else:
            wanted = UNIQUE[entity[0]](value)
            holders = {
                other
                for other, theirs in seen.rows.items()
                if other[0] == entity[0] and other != entity and UNIQUE[other[0]](theirs) == wanted
            }
            assert holders, entity
            assert not holders & seen.stale, entity


def check_identities(before: Seen, after: Seen, held: set[Entity]) -> None:
    """Who was there and was held by the stream all the time has its primary key
    and the application's columns.
    """
    for entity in held & before.identities.keys() & after.identities.keys():
        assert after.identities[entity] == before.identities[entity], entity


@lenient
@given(stream_of=_streams(["branch", "leaf", "leaf"], with_controls=True), first=st.integers(0, 8))
def test_rows_and_what_the_application_has_in_them(
    database: str, stream_of: tuple[list[dict[str, Any]], list[int]], first: int
) -> None:
    """Parents, unique values and both: the fold's rows;
    primary keys, columns and rows of the application survive.
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


@lenient
@given(stream_of=_streams(["branch", "leaf"], with_controls=False), first=st.integers(0, 8))
def test_a_batch_takes_no_more_than_its_messages_one_by_one(
    database: str, stream_of: tuple[list[dict[str, Any]], list[int]], first: int
) -> None:
    """Rows of the application that survive when each message is a commit survive in any batch.

    The application adds them when both have the same rows, the older ones of waiting entities too.
    """
    messages, cuts = stream_of
    first, messages = min(first, len(messages)), [*messages, END]
    cuts = [*range(first), *(cut for cut in cuts if cut > first)]
    with grove(database) as stream:
        _, single = run(stream, messages, list(range(len(messages))), first)
    with grove(database) as stream:
        _, batched = run(stream, messages, cuts, first)
        # Who has a contested value may differ; whoever is shown in both has kept what it had.
        shown = {key for kind, key in single.rows.keys() & batched.rows.keys() if kind == "leaf"}
        assert single.marked & shown <= batched.marked


@lenient
@given(
    stream_of=_streams(["branch", "leaf", "leaf"], with_controls=True),
    first=st.integers(0, 8),
    guarded=st.sets(st.sampled_from(KEYS)),
)
def test_protected_rows_go_when_nothing_protects_them(
    database: str,
    stream_of: tuple[list[dict[str, Any]], list[int]],
    first: int,
    guarded: set[str],
) -> None:
    """Until then they stay whole, whatever else goes on; afterwards the rows are the fold's."""
    messages, cuts = stream_of
    first, messages = min(first, len(messages)), [*messages, END]
    with grove(database) as stream:
        before, seen = run(stream, messages, cuts, first, guarded)
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


@lenient
@given(stream_of=_streams(["sign"], with_controls=True), first=st.integers(0, 8))
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


@lenient
@given(stream_of=_streams(["country", "city", "city"], with_controls=True), first=st.integers(0, 8))
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
