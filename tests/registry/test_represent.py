"""How a row names its parents outside."""

from __future__ import annotations

import pytest

from durable_state import EntityMapping
from durable_state.models import Stream, TableOwner
from durable_state.registry import Registry
from tests.app import models

pytestmark = pytest.mark.django_db


def registry_of(*mappings: tuple[str, dict[str, object]]) -> list[EntityMapping]:
    """The mappings, registered beside each other."""
    registry, made = Registry(), []
    for entity_type, attributes in mappings:
        mapping_class = type("Mapping", (EntityMapping,), attributes)
        registry.add(entity_type, mapping_class)
        made.append(next(each for each in registry if type(each) is mapping_class))
    assert registry.mistakes == []
    return made


def test_a_parent_is_named_as_the_rows_stream_names_it() -> None:
    """Where streams key the parents by different fields."""
    author: dict[str, object] = {"model": models.Author, "fields": ["commits"]}
    *_, commit = registry_of(
        ("author", author | {"key_field": "key", "streams": ["one"]}),
        ("author", author | {"key_field": "commits", "fields": [], "streams": ["two"]}),
        ("commit", {"model": models.Commit, "key_field": "key", "fields": ["author"]}),
    )
    parent = models.Author.objects.create(key="ada", commits=7)
    row = models.Commit(key="c", author=parent, subject="")
    row._state.db = "default"
    for name, shown in (("one", "ada"), ("two", "7")):
        stream = Stream.objects.create(name=name, url="http://tests.invalid")
        TableOwner.objects.all().delete()
        TableOwner.objects.create(model="app.commit", stream=stream)
        assert commit.represent(row) == {"author": shown}


@pytest.mark.parametrize("by_room", [False, True])
def test_the_row_tells_its_stream(by_room: bool) -> None:
    """By its stream field, or because the mapping serves no other."""
    person: dict[str, object] = {"model": models.Person, "stream_field": "room", "fields": ["boss"]}
    first, second, *both = registry_of(
        ("person", person | {"key_field": "key", "streams": ["one"]}),
        ("person", person | {"key_field": "email", "streams": ["two"]}),
        *([("employee", person | {"key_field": "key"})] if by_room else []),
    )
    for name, mapping, shown in (("one", first, "k"), ("two", second, "e")):
        stream = Stream.objects.create(name=name, url="http://tests.invalid")
        room = models.Room.objects.create(title=name, stream=stream)
        boss = models.Person.objects.create(
            room=room, key="k", email=f"{shown}{name}" if by_room else "e"
        )
        row = models.Person.objects.create(room=room, key="r", email=f"r{name}", boss=boss)
        expected = boss.key if name == "one" else boss.email
        for each in [*both, mapping]:
            assert each.represent(row) == {"boss": expected}
        models.Person.objects.all().delete()
