"""Branches with leaves, and the application's data beside them: random streams, what their
tables show, and what must be true of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import connections, transaction
from hypothesis import strategies as st

from durable_state.consumer import release
from durable_state.models import DeadLetter, ParkedChange, Stream
from tests.app.grove import Branch, City, Country, Guard, Leaf, Mark, Sign
from tests.tables import apply_batch

from .folding import Entity, Fold, ValueOf, fold, verbatim
from .streams import controls

__all__ = [
    "KEYS",
    "PARENTS",
    "UNIQUE",
    "VALUES",
    "Seen",
    "add_the_applications_own",
    "changes",
    "check_identities",
    "check_rows",
    "grove",
    "held_throughout",
    "look",
    "run",
    "streams",
]

KEYS = "abc"
TABLES: list[Any] = [Mark, Guard, Leaf, Branch, City, Country, Sign]


class Seen(NamedTuple):
    """The shown rows, and the application's data beside them."""

    rows: Fold
    stale: set[Entity]
    waiting: dict[Entity, str]
    identities: dict[Entity, tuple[Any, str]]
    marked: set[str]
    letters: set[tuple[str, str, str]]


VALUES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
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
def changes(draw: st.DrawFn, types: list[str]) -> dict[str, Any]:
    entity_type = draw(st.sampled_from(types))
    message: dict[str, Any] = {
        "type": entity_type,
        "key": draw(st.sampled_from(KEYS)),
        "headers": {"operation": draw(st.sampled_from(["insert", "update", "upsert", "delete"]))},
    }
    if message["headers"]["operation"] != "delete":
        message["value"] = draw(VALUES[entity_type])
    return message


@st.composite
def streams(
    draw: st.DrawFn, types: list[str], with_controls: bool
) -> tuple[list[dict[str, Any]], list[int]]:
    """Messages, and where they are cut."""
    change = changes(types)
    some = st.one_of(change, change, change, change, controls) if with_controls else change
    messages = draw(st.lists(some, max_size=16))
    cuts = draw(st.lists(st.integers(0, len(messages)), max_size=4))
    return messages, sorted({0, len(messages), *cuts})


def held_throughout(
    messages: list[dict[str, Any]], start: int, value_of: ValueOf = verbatim
) -> set[Entity]:
    """The entities that the stream held after the first ``start`` messages, and after each later
    one.
    """
    held = set(fold(messages[:start], value_of))
    for end in range(start, len(messages) + 1):
        held &= set(fold(messages[:end], value_of))
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
    guarded: AbstractSet[str] = frozenset(),
    freed: int = -1,
) -> tuple[Seen, Seen]:
    """Applies the messages, the first ones separately; returns the state once the application has
    added its own data, and at the end.

    The guarded leaves are protected until ``freed`` messages were applied, or to the end.
    """
    using = stream.using
    bounds = sorted({*cuts, first, freed, len(messages)} - {-1})
    before = look(stream)
    for start, end in zip([0, *bounds], bounds, strict=False):
        if start < end:
            apply_batch(stream, messages[start:end], True)
        if end == first:
            add_the_applications_own(using, guarded)
            before = look(stream)
        if end == freed:
            Guard.objects.using(using).all().delete()
    release(stream, None)
    return before, look(stream)


def add_the_applications_own(using: str, guarded: AbstractSet[str] = frozenset()) -> None:
    """Gives each row a note, and each leaf a mark; the guarded leaves are protected."""
    for model in (Branch, Leaf, Sign):
        for row in model._base_manager.using(using).all():
            model._base_manager.using(using).filter(pk=row.pk).update(note=f"my {row.key}")
    for leaf in Leaf.objects.using(using).all():
        Mark.objects.using(using).create(leaf=leaf)
        if leaf.key in guarded:
            Guard.objects.using(using).create(leaf=leaf)


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


def check_rows(seen: Seen, folded: Fold) -> None:
    """Each entity is shown as in the fold, or parked for a valid reason; nothing else is there."""
    shown = {e: value for e, value in seen.rows.items() if e not in seen.stale}
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
    """Entities that existed and were held by the stream all the time have kept primary key and
    application columns.
    """
    for entity in held & before.identities.keys() & after.identities.keys():
        assert after.identities[entity] == before.identities[entity], entity
