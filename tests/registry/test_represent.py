"""How a row, and the keys of its parents, are shown outside."""

from __future__ import annotations

import dataclasses
import datetime
import json
import uuid
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from django.test import override_settings

from durable_state import EntityMapping
from durable_state.conversion.jsonable import jsonable
from durable_state.conversion.keys import key_value
from durable_state.feed.frames import encode_value
from durable_state.models import Stream, TableOwner
from durable_state.registry import Registry
from tests.app import models
from tests.names import name_value

pytestmark = pytest.mark.django_db


def _hours_east(hours: int) -> datetime.timezone:
    return datetime.timezone(datetime.timedelta(hours=hours))


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


BIG = 2**53


@dataclasses.dataclass
class Total:
    """Something that a mapping's own `represent` may return."""

    cents: int


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (BIG - 1, BIG - 1),
        (1 - BIG, 1 - BIG),
        (BIG, str(BIG)),
        (-BIG, str(-BIG)),
        (2**63 - 1, "9223372036854775807"),
        ([1, BIG + 1], [1, str(BIG + 1)]),
        ((BIG,), [str(BIG)]),
        ({"a": [{"b": BIG + 1}], "c": 1}, {"a": [{"b": str(BIG + 1)}], "c": 1}),
        (Total(BIG + 1), {"cents": str(BIG + 1)}),
        (1e300, 1e300),
        (True, True),
        (Decimal("0E-8"), "0.00000000"),
        (Decimal("1E+3"), "1000"),
        ([Decimal("1.10")], ["1.10"]),
        (
            {"at": datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)},
            {"at": "2024-05-01T12:00:00Z"},
        ),
        (
            datetime.datetime(2024, 5, 1, 21, tzinfo=_hours_east(9)),
            "2024-05-01T12:00:00Z",
        ),
        (
            datetime.datetime.max.replace(tzinfo=_hours_east(-1)),
            "9999-12-31T23:59:59.999999-01:00",
        ),
        (datetime.timedelta(seconds=60), "P0DT00H01M00S"),
        (memoryview(b"ab"), "YWI="),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
    ids=name_value,
)  # fmt: skip
def test_values_leave_as_every_reader_of_json_holds_them(value: Any, shown: Any) -> None:
    """JavaScript's numbers are doubles: beyond 2**53 they would differ. In REST and frames
    alike.
    """
    assert jsonable(value) == shown
    assert type(jsonable(value)) is type(shown)
    assert msgspec.json.decode(encode_value({"v": value})) == {"v": shown}


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York", "UTC"])
def test_moments_leave_with_an_offset(zone: str) -> None:
    """Even with USE_TZ off, where rows hold local times."""
    moment = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)
    with override_settings(USE_TZ=False, TIME_ZONE=zone):
        local = datetime.datetime.fromtimestamp(moment.timestamp())
        assert jsonable(local) == "2024-05-01T12:00:00Z"


def test_keys_of_unmapped_parents_beyond_53_bits() -> None:
    """A foreign key is shown as the value of its target column."""
    (mapping,) = registry_of(
        ("clipping", {"model": models.Clipping, "key_field": "key", "fields": ["author"]})
    )
    assert mapping.represent(models.Clipping(author_id=BIG + 1)) == {"author": str(BIG + 1)}
    assert mapping.represent(models.Clipping(author_id=7)) == {"author": 7}


@pytest.mark.parametrize(
    ("name", "key", "found"),
    [
        ("span", "P0DT00H01M00S", datetime.timedelta(minutes=1)),
        ("span", "PT60S", None),
        ("big", str(2**63 - 1), 2**63 - 1),
        ("big", str(2**63), None),
        ("big", "007", None),
        ("day", "2024-05-01", datetime.date(2024, 5, 1)),
        ("money", "1.10", Decimal("1.10")),
        ("text", "a\0", None),
        ("text", "\ud800", None),
        ("text", "a ", "a "),
        ("uuid", "0" * 32, None),
    ],
)
def test_the_value_that_rows_of_a_key_hold(name: str, key: str, found: Any) -> None:
    """Databases are asked only for values of the column's own type, and for none that no row can
    have.
    """
    assert key_value(models.AllFields._meta.get_field(name), key) == found  # type: ignore[arg-type]


def test_a_moment_is_found_by_its_key_without_time_zones() -> None:
    """With USE_TZ off, its column holds the local time."""
    field: Any = models.AllFields._meta.get_field("moment")
    with override_settings(USE_TZ=False, TIME_ZONE="Asia/Tokyo"):
        assert key_value(field, "2024-05-01T12:00:00Z") == datetime.datetime(2024, 5, 1, 21)


def test_documents_leave_as_their_columns_hold_them() -> None:
    """Not as a decoder of the field's own reads them."""
    from django.db import models as django_models
    from django.test.utils import isolate_apps

    class Decoder(json.JSONDecoder):
        def __init__(self) -> None:
            super().__init__(object_hook=lambda members: frozenset(members.items()))

    class Encoder(json.JSONEncoder):
        def default(self, o: Any) -> Any:
            return dict(o)

    with isolate_apps("tests.app"):

        class Sheet(django_models.Model):
            key = django_models.CharField(max_length=9)
            cells = django_models.JSONField(encoder=Encoder, decoder=Decoder)

            class Meta:
                app_label = "app"

    (mapping,) = registry_of(("sheet", {"model": Sheet, "key_field": "key", "fields": ["cells"]}))
    row = Sheet(cells=frozenset({("a", 1), ("b", BIG)}))
    assert mapping.represent(row) == {"cells": {"a": 1, "b": str(BIG)}}
