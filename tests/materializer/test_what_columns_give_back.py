"""A row is compared with what its columns return: equal values are not written again, others
are, and verify says so.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.postgres import fields as postgres
from django.contrib.postgres.search import SearchVectorField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, transaction
from django.test.utils import isolate_apps

from durable_state import EntityMapping
from durable_state.registry import registry
from tests.app.fields import LoweredField, MirroredField
from tests.mappings import remap
from tests.properties.support.replays import check_replays
from tests.tables import tables_of
from tests.wire import raw_change

from .support.verifying import differing

pytestmark = pytest.mark.usefixtures("writer")


class ExactDecoder(json.JSONDecoder):
    """Reads numbers with a point as decimals, and objects of one member as pairs."""

    def __init__(self) -> None:
        super().__init__(parse_float=Decimal, object_hook=lambda members: tuple(members.items()))


class DecimalEncoder(DjangoJSONEncoder):
    """Writes decimals, and pairs in their original form."""


class SignedField(models.TextField):
    """Writes something different each time, as an encrypted field does."""

    numbers = itertools.count()

    def get_prep_value(self, value: Any) -> Any:
        return value if value is None else f"{next(self.numbers)}:{value}"

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        return value if value is None else value.partition(":")[2]


class TrimmedField(models.CharField):
    """Writes its text without white space."""

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        value = super().get_db_prep_value(value, connection, prepared)
        return value if value is None else value.strip()


class DocumentField(models.JSONField):
    """Another name for documents."""


KINDS: dict[str, tuple[models.Field[Any, Any], list[Any], Any]] = {
    "in SQL": (LoweredField(max_length=20), ["Ada", "ada", ""], "bob"),
    "trimmed": (TrimmedField(max_length=20), [" a ", "a"], "b"),
    "mirrored": (MirroredField(max_length=20), ["abc", ""], "cba"),
    "signed": (SignedField(), ["a", "b:c"], "c"),
    "decoder": (
        models.JSONField(decoder=ExactDecoder),
        [{"a": 1.5}, [1, 2.5, None], {"a": {"b": 1e22}}, "x", None],
        {"a": 2.5},
    ),
    "encoder": (models.JSONField(encoder=DecimalEncoder, null=True), [{"a": 1.5}, None], []),
    "documents": (DocumentField(null=True), [{"a": [True, 1]}, None, 1e16], {"a": [1, True]}),
}

ONLY_POSTGRES: dict[str, tuple[models.Field[Any, Any], list[Any], Any]] = {
    "whole numbers": (
        postgres.IntegerRangeField(),
        [
            {"lower": 1, "upper": 3},
            {"lower": 1, "upper": 3, "bounds": "[]"},
            {"lower": 0, "upper": 3, "bounds": "(]"},
            [1, 4],
            {"lower": None, "upper": 3, "bounds": "[]"},
            {"lower": 1, "bounds": "()"},
            {},
            {"empty": True},
            {"lower": 1, "upper": 1},
            {"lower": 1, "upper": 2, "bounds": "()"},
            '{"lower": "1", "upper": "3", "bounds": "[]"}',
        ],
        [5, 6],
    ),
    "large numbers": (postgres.BigIntegerRangeField(), [[2**53 + 1, 2**60]], [1, 2]),
    "days": (
        postgres.DateRangeField(),
        [
            {"lower": "2024-01-01", "upper": "2024-01-31", "bounds": "[]"},
            ["2024-01-01", "2024-02-01"],
            ["2024-01-01", None],
        ],
        ["2024-01-01", "2024-02-02"],
    ),
    "moments": (
        postgres.DateTimeRangeField(default_bounds="[]"),
        [
            ["2024-01-01T00:00:00Z", "2024-01-01T12:00:00+02:00"],
            {"lower": "2024-01-01T00:00:00Z", "upper": "2024-01-01T00:00:00Z", "bounds": "()"},
        ],
        ["2024-01-01T00:00:00Z", None],
    ),
    "decimals": (
        postgres.DecimalRangeField(),
        [["1.0", 2.5], {"lower": 1, "upper": 1, "bounds": "[]"}, {"upper": "1e-8"}],
        [1, 3],
    ),
    "arrays of ranges": (
        postgres.ArrayField(postgres.IntegerRangeField()),
        [[{"lower": 1, "upper": 3, "bounds": "[]"}, {"empty": True}], []],
        [[1, 2]],
    ),
    "arrays computed in SQL": (
        postgres.ArrayField(TrimmedField(max_length=20)),
        [[" a ", "b"], []],
        ["c"],
    ),
    "arrays of documents": (
        postgres.ArrayField(models.JSONField()),
        [[{"a": 1}, None, True], []],
        [{"a": 1}, None, 1],
    ),
    "search vectors": (SearchVectorField(), ["b a:2", "'a':2 'b'", ""], "c"),
    "stores of texts": (postgres.ArrayField(models.TextField()), [["a", "NULL", ""]], ["b"]),
}  # fmt: skip


@pytest.fixture
def made(request: pytest.FixtureRequest) -> Any:
    """Makes a model with one column of the kind, mapped as `thing`."""

    def make(field: models.Field[Any, Any]) -> type[models.Model]:
        with isolate_apps("tests.app"):

            class Thing(models.Model):
                key = models.CharField(max_length=40, unique=True)
                column = field.clone()

                class Meta:
                    app_label = "app"

        remap("thing", EntityMapping, model=Thing, key_field="key", fields=["column"])
        return Thing

    return make


def kinds() -> Iterator[Any]:
    """All kinds with the databases that have them."""
    for alias in ("default", "postgres", "mysql"):
        for name in [*KINDS, *(ONLY_POSTGRES if alias == "postgres" else ())]:
            mark = pytest.mark.django_db(transaction=True, databases=[alias])
            yield pytest.param(alias, name, marks=mark, id=f"{name} on {alias}")


@pytest.mark.parametrize(("alias", "name"), list(kinds()))
def test_equal_values_are_equal(alias: str, name: str, made: Any) -> None:
    """In whatever form they come again; a different one is found by verify, and written."""
    field, values, other = (KINDS | ONLY_POSTGRES)[name]
    model = made(field)
    texts = [json.dumps({"column": value}) for value in values]
    messages = [raw_change("thing", f"k{number}", text) for number, text in enumerate(texts)]
    with tables_of(alias, model):
        stream = check_replays(alias, messages, itertools.cycle([3, 1]), model)
        assert model._base_manager.using(alias).count() == len(values)
        assert differing(stream, messages) == []

        changed = [
            *messages[:-1],
            raw_change("thing", f"k{len(values) - 1}", json.dumps({"column": other})),
        ]
        assert [each.kind for each in differing(stream, changed)] == ["changed"]

        # A shown value is accepted again, as the same value.
        mapping = registry.find("thing", "office")
        assert mapping is not None
        again = [
            raw_change("thing", row.key, json.dumps(mapping.represent(row)))
            for row in model._base_manager.using(alias).all()
        ]
        if not any("9007199254740993" in text or "1e" in text for text in texts):
            assert differing(stream, again) == []
        with transaction.atomic(using=alias):
            model._base_manager.using(alias).all().delete()
