"""Values that a commit has just written are reported without reading them again, and equal what
reading would give.
"""

from __future__ import annotations

import datetime
import json
from typing import Any

import msgspec
import pytest
from django.db import models
from django.db.models.signals import post_init
from hypothesis import given
from hypothesis import strategies as st

from durable_state import EntityMapping, feed
from durable_state.feed.frames import encode_value
from durable_state.models import FeedEntry, Stream
from durable_state.registry import registry
from durable_state.registry.change import EntityChange
from durable_state.registry.written import is_shown_as_written
from durable_state.testing import apply
from tests.app.models import AllFields, Author, Commit, Message, Setting
from tests.examples import lenient

NAMES = [
    field.name
    for field in AllFields._meta.concrete_fields
    if not isinstance(field, (models.AutoField, models.JSONField, models.FileField))
]
RAW: dict[str, dict[str, Any]] = {}
"""The result of ``prepare``, by key: also values for which JSON has no type."""

numbers = (
    st.integers(-(2**65), 2**65)
    | st.sampled_from([2**n + d for n in (15, 31, 53, 63, 64) for d in (-1, 0, 1)])
    | st.floats(allow_nan=False)
    | st.sampled_from([0.0, -0.0, 1.0, 1e16, 5e-324])
    | st.decimals(allow_nan=False, places=2, min_value=-(10**9), max_value=10**9)
    | st.decimals(allow_nan=False, places=10, min_value=-(10**9), max_value=10**9)
)
texts = st.text(max_size=8) | st.sampled_from(["", " a ", "é😀", "1.50", "007"])
zones: Any = st.none() | st.timezones()
moments = st.datetimes(min_value=datetime.datetime(1975, 1, 1), timezones=zones)
raws: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "char": texts,
    "text": texts,
    "slug": texts,
    "path": texts,
    "moment": moments | moments.map(lambda moment: moment.isoformat()),
    "day": st.dates() | st.dates().map(str),
    "time": st.times() | st.times().map(str),
    "span": st.timedeltas(),
    "uuid": st.uuids() | st.uuids().map(str),
    "blob": st.binary(max_size=20),
    "address": st.ip_addresses().map(str) | st.sampled_from(["::ffff:1.2.3.4", "2001:DB8::1"]),
}


class EveryKind(EntityMapping):
    """All columns except documents and files."""

    model = AllFields
    key_field = "id"
    fields = NAMES

    def prepare(self, change: EntityChange) -> dict[str, Any] | None:
        """The values that the test has set."""
        return RAW[change.key]


@pytest.fixture
def every_kind() -> EntityMapping:
    """The mapping, registered for this test."""
    registry.add("every-kind", EveryKind)
    mapping = registry.find("every-kind", "kinds")
    assert mapping is not None
    return mapping


def newest_values(stream: str, using: str) -> dict[str, bytes]:
    """The values in the newest entry, by entity key."""
    entry = FeedEntry.objects.using(using).filter(stream__name=stream).latest("revision")
    changes = msgspec.json.decode(bytes(entry.changes), type=list[feed.LoggedChange])
    return {each.key: bytes(each.value) for each in changes if each.value is not msgspec.UNSET}


def test_every_kind_of_column(
    every_kind: EntityMapping, using: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text of each value is the same, and no row is read for it."""

    def read_nothing(*args: Any) -> Any:
        raise AssertionError("A row was read.")

    monkeypatch.setattr("durable_state.feed.log.rows_by_key", read_nothing)
    one = st.sampled_from(NAMES).flatmap(
        lambda name: st.tuples(st.just(name), raws.get(name, numbers))
    )

    @lenient(40)
    @given(st.lists(one, min_size=10, max_size=30))
    def check(chosen: list[tuple[str, Any]]) -> None:
        RAW.clear()
        RAW.update({str(place): {name: raw} for place, (name, raw) in enumerate(chosen, 1)})
        apply("kinds", [change("every-kind", key) for key in RAW], using=using)
        told = newest_values("kinds", using)
        rows = every_kind.rows(Stream.objects.using(using).get(name="kinds"))
        by_key = {every_kind.key_of(row): row for row in rows}
        assert told == {key: encode_value(every_kind.represent(by_key[key])) for key in told}

    check()


def change(entity_type: str, key: str, value: Any = None) -> dict[str, Any]:
    return {
        "type": entity_type,
        "key": key,
        "value": {} if value is None else value,
        "headers": {"operation": "upsert"},
    }


@pytest.mark.django_db
def test_what_code_of_the_projects_may_show_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a mapping, a model or a field that computes the shown value, including those of the
    parent.
    """

    def shown_as_written(model_: type[models.Model], *names: str, **more: Any) -> bool:
        attributes = {"model": model_, "key_field": "key", "fields": list(names), **more}
        mapping = type("Mapping", (EntityMapping,), attributes)("thing")
        mapping.registry = registry
        return is_shown_as_written(mapping)

    assert shown_as_written(Message, "text", "likes")
    assert not shown_as_written(Message, "text", represent=lambda self, row: row.text)
    assert shown_as_written(Setting, "data")
    assert shown_as_written(Commit, "author", "subject")

    def heard(**kwargs: Any) -> None:
        """Might change the instance."""

    post_init.connect(heard, sender=Author)
    try:
        assert not shown_as_written(Author, "commits")
        assert not shown_as_written(Commit, "author", "subject")
    finally:
        post_init.disconnect(heard, sender=Author)
    assert shown_as_written(Author, "commits")

    for name in ("__init__", "from_db"):
        with monkeypatch.context() as patch:
            own: Any = lambda *args, **kwargs: None  # noqa: E731
            patch.setattr(Author, name, own if name == "__init__" else classmethod(own))
            assert not shown_as_written(Author, "commits")


documents = st.recursive(
    st.none()
    | st.booleans()
    | st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=5)
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.0, -0.0, 1.0, 1e15, 1e16, 5e-324, 2**53 - 1.0]),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(texts, parts, max_size=3),
    max_leaves=8,
)


def test_documents(using: str) -> None:
    """Reported as written, if every database returns exactly that."""
    mapping = registry.find("setting", "s")
    assert mapping is not None

    @lenient(40)
    @given(st.lists(documents, min_size=1, max_size=20))
    def check(chosen: list[Any]) -> None:
        values = {str(place): document for place, document in enumerate(chosen)}
        changes = [change("setting", key, value) for key, value in values.items()]
        apply("s", changes, using=using)
        rows = mapping.rows(Stream.objects.using(using).get(name="s"))
        held = {mapping.key_of(row): encode_value(mapping.represent(row)) for row in rows}
        told = newest_values("s", using)
        assert told.keys() <= held.keys()
        assert {key: strictly(told[key]) for key in told} == {
            key: strictly(held[key]) for key in told
        }

    check()


def strictly(value: bytes) -> str:
    """Text in which 1, 1.0 and True differ, and the order of members does not count."""
    return json.dumps(json.loads(value), sort_keys=True)
