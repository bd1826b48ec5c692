"""Unique values, however a model declares them: shown entities equal the fold, and parked ones
lose to a shown row.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, IntegerRangeField, RangeOperators
from django.db import models
from django.db.models.functions import Lower
from django.test.utils import isolate_apps
from hypothesis import given
from hypothesis import strategies as st

from durable_state import EntityMapping
from durable_state.models import DeadLetter, ParkedChange, Stream
from tests import wire
from tests.examples import lenient
from tests.mappings import map_only
from tests.tables import apply_batch, tables_of
from tests.wire import END

from .support.folding import fold
from .support.streams import controls, cut_anywhere

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("writer"),
]


EVERYWHERE = ("default", "postgres", "mysql")
KEYS = "abcd"
Value = dict[str, Any]
Cut = list[tuple[list[dict[str, Any]], bool]]


class Kind(NamedTuple):
    """A way to declare unique values.

    ``columns`` make the model; ``values`` are given on the wire; ``meet`` says whether no table can
    hold both of two values; ``stored`` is the row's value for one.
    """

    columns: Callable[[], dict[str, Any]]
    meta: Callable[[], dict[str, Any]]
    values: dict[str, list[Any]]
    meet: Callable[[Value, Value], bool]
    aliases: tuple[str, ...] = EVERYWHERE
    stored: Callable[[Value], Value] = lambda value: value


def unique(*arguments: Any, **options: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {
        "constraints": [models.UniqueConstraint(*arguments, name="kind_unique", **options)]
    }


def same(*names: str) -> Callable[[Value, Value], bool]:
    """Whether all of these columns are equal, and none of them NULL."""
    return lambda one, other: all(
        one[name] is not None and one[name] == other[name] for name in names
    )


def text(**options: Any) -> models.Field[Any, Any]:
    return models.CharField(max_length=20, **options)


def _span(lower: int, upper: int) -> Value:
    return {"lower": lower, "upper": upper, "bounds": "[)"}


SPANS = {
    "PT1S": datetime.timedelta(seconds=1),
    "PT0.000001S": datetime.timedelta(microseconds=1),
    "P1D": datetime.timedelta(days=1),
    "PT24H": datetime.timedelta(days=1),
}


KINDS: dict[str, Kind] = {
    "pair": Kind(
        lambda: {"a": text(null=True), "b": models.IntegerField(null=True)},
        unique(fields=["a", "b"]),
        {"a": ["x", "y", None], "b": [1, 2, None]},
        same("a", "b"),
    ),
    "together": Kind(
        lambda: {"a": text(), "b": models.BooleanField(), "c": models.IntegerField(null=True)},
        lambda: {"unique_together": [("a", "b"), ("b", "c")]},
        {"a": ["x", "y"], "b": [True, False], "c": [1, None]},
        lambda one, other: same("a", "b")(one, other) or same("b", "c")(one, other),
    ),
    "nulls-alike": Kind(
        lambda: {"a": text(null=True), "b": models.IntegerField(null=True)},
        unique(fields=["a", "b"], nulls_distinct=False),
        {"a": ["x", None], "b": [1, None]},
        lambda one, other: one == other,
        ("postgres",),
    ),
    "condition": Kind(
        lambda: {"a": text(), "live": models.BooleanField()},
        unique(fields=["a"], condition=models.Q(live=True)),
        {"a": ["x", "y"], "live": [True, False]},
        lambda one, other: one["a"] == other["a"] and one["live"] and other["live"],
        ("default", "postgres"),
    ),
    "expression": Kind(
        lambda: {"a": text(null=True)},
        unique(Lower("a")),
        {"a": ["x", "X", "y", "Y", "z", None]},
        lambda one, other: (
            None not in (one["a"], other["a"]) and one["a"].lower() == other["a"].lower()
        ),
        ("default", "postgres"),
    ),
    "generated": Kind(
        lambda: {
            "a": text(),
            "slug": models.GeneratedField(
                expression=Lower("a"), output_field=text(), db_persist=True, unique=True
            ),
        },
        dict,
        {"a": ["x", "X", "y", "Y", "z"]},
        lambda one, other: one["a"].lower() == other["a"].lower(),
    ),
    "deferred": Kind(
        lambda: {"a": models.IntegerField()},
        unique(fields=["a"], deferrable=models.Deferrable.DEFERRED),
        {"a": [1, 2, 3]},
        same("a"),
        ("postgres",),
    ),
    "exclusion": Kind(
        lambda: {"span": IntegerRangeField(null=True), "room": models.IntegerField(default=0)},
        lambda: {
            "constraints": [
                ExclusionConstraint(
                    name="kind_apart", expressions=[("span", RangeOperators.OVERLAPS)]
                )
            ]
        },
        {"span": [_span(1, 3), _span(2, 4), _span(3, 5), _span(1, 9), None]},
        lambda one, other: _overlap(one["span"], other["span"]),
        ("postgres",),
        lambda value: {"span": _bounds(value["span"])},
    ),
    "array": Kind(
        lambda: {"a": ArrayField(models.IntegerField(null=True), unique=True, null=True)},
        dict,
        {"a": [[1], [1, 2], [None], [], None]},
        same("a"),
        ("postgres",),
    ),
    "decimal": Kind(
        lambda: {"a": models.DecimalField(max_digits=20, decimal_places=2, unique=True)},
        dict,
        {"a": ["1.00", "1", "-0.00", 0, "9999999999999.99", "-9999999999999.99"]},
        lambda one, other: Decimal(one["a"]) == Decimal(other["a"]),
        stored=lambda value: {"a": Decimal(value["a"])},
    ),
    "duration": Kind(
        lambda: {"a": models.DurationField(unique=True, null=True)},
        dict,
        {"a": ["PT1S", "PT0.000001S", "P1D", "PT24H", None]},
        lambda one, other: (
            None not in (one["a"], other["a"]) and SPANS[one["a"]] == SPANS[other["a"]]
        ),
        stored=lambda value: {"a": value["a"] and SPANS[value["a"]]},
    ),
    "binary": Kind(
        lambda: {"a": models.BinaryField(unique=True, null=True)},
        dict,
        {"a": ["AAE=", "AAI=", "", None]},
        same("a"),
        ("default", "postgres"),
        lambda value: {"a": None if value["a"] is None else base64.b64decode(value["a"])},
    ),
    "moment": Kind(
        lambda: {"a": models.DateTimeField(unique=True)},
        dict,
        {"a": ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00.000001Z"]},
        lambda one, other: _moment(one["a"]) == _moment(other["a"]),
        stored=lambda value: {"a": _moment(value["a"])},
    ),
    "two": Kind(
        lambda: {"a": text(unique=True), "b": models.IntegerField(unique=True, null=True)},
        dict,
        {"a": ["x", "y", "z"], "b": [1, 2, None]},
        lambda one, other: same("a")(one, other) or same("b")(one, other),
    ),
}


def _bounds(span: Value | None) -> tuple[int, int] | None:
    return None if span is None else (span["lower"], span["upper"])


def _overlap(one: Value | None, other: Value | None) -> bool:
    a, b = _bounds(one), _bounds(other)
    return a is not None and b is not None and a[0] < b[1] and b[0] < a[1]


def _moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def _plain(value: Any) -> Any:
    """A value as Python compares it."""
    if hasattr(value, "bounds"):
        return value.lower, value.upper
    return bytes(value) if isinstance(value, memoryview) else value


class Hidden(models.Manager):
    """The application changes none of the rows."""

    def get_queryset(self) -> Any:
        return super().get_queryset().none()


@contextmanager
def model_of(kind: Kind, using: str) -> Iterator[type[models.Model]]:
    """A model with these columns, mapped as `thing`."""
    meta = type(
        "Meta",
        (),
        {"app_label": "app", "db_table": "app_kind", "ordering": ["-key"], **kind.meta()},
    )
    with isolate_apps("tests.app"):
        model: Any = type(
            "Thing",
            (models.Model,),
            {
                "__module__": __name__,
                "key": text(unique=True),
                "note": text(default="own"),
                "objects": Hidden(),
                **kind.columns(),
                "Meta": meta,
            },
        )
    mapping = type(
        "ThingMapping",
        (EntityMapping,),
        {"model": model, "key_field": "key", "fields": list(kind.values)},
    )
    with tables_of(using, model):
        map_only(thing=mapping)
        yield model


@contextmanager
def stream_of_kinds(alias: str, model: Any) -> Iterator[Stream]:
    """A stream for one example."""
    stream = Stream.objects.using(alias).create(name="kinds", url="http://tests.invalid/kinds")
    try:
        yield stream
    finally:
        model._base_manager.using(alias).all()._raw_delete(alias)
        stream.delete()


@st.composite
def changes(draw: st.DrawFn, kind: Kind) -> dict[str, Any]:
    operation = draw(st.sampled_from(["insert", "update", "upsert", "insert", "delete"]))
    message: dict[str, Any] = {
        "type": "thing",
        "key": draw(st.sampled_from(KEYS)),
        "headers": {"operation": operation},
    }
    if operation != "delete":
        message["value"] = {name: draw(st.sampled_from(some)) for name, some in kind.values.items()}
    return message


def streams(kind: Kind) -> st.SearchStrategy[Cut]:
    change = changes(kind)
    some = st.one_of(change, change, change, change, change, change, controls)
    return cut_anywhere(st.lists(some, max_size=24))


def check(stream: Stream, kind: Kind, model: Any, messages: list[dict[str, Any]]) -> None:
    folded = {key: value for (_, key), value in fold(messages).items()}
    using = stream.using
    rows = {
        row.key: {name: _plain(getattr(row, name)) for name in kind.values}
        for row in model._base_manager.using(using)
    }
    parked = dict(ParkedChange.objects.using(using).values_list("key", "stale"))
    assert not DeadLetter.objects.using(using).exists()
    assert rows.keys() == folded.keys() - {key for key, stale in parked.items() if not stale}
    for key in rows.keys() - parked.keys():
        assert rows[key] == kind.stored(folded[key]), key
    standing = rows.keys() - parked.keys()
    for key in parked:
        assert any(kind.meet(folded[key], folded[other]) for other in standing), (key, folded)
    counts = [getattr(stream, f.name) for f in Stream._meta.fields if f.name.endswith("_count")]
    assert sum(counts) == stream.ordinal


CASES = [
    pytest.param(name, alias, id=f"{name}-{alias}")
    for name, kind in KINDS.items()
    for alias in kind.aliases
]


@pytest.mark.parametrize(("name", "alias"), CASES)
def test_who_is_parked_loses_to_a_row_that_is_shown(name: str, alias: str) -> None:
    """All others equal the stream, whatever came before."""
    kind = KINDS[name]
    with model_of(kind, alias) as model:

        @lenient(15)
        @given(cut=streams(kind))
        def equals_the_fold(cut: Cut) -> None:
            with stream_of_kinds(alias, model) as stream:
                for batch, up_to_date in cut:
                    apply_batch(stream, batch, up_to_date)
                apply_batch(stream, [END], True)
                messages = [*(message for batch, _ in cut for message in batch), END]
                check(stream, kind, model, messages)

        equals_the_fold()


SWAPS = [
    pytest.param(name, alias, first, second, id=f"{name}-{alias}")
    for name, alias, first, second in [
        ("generated", "default", {"a": "x"}, {"a": "y"}),
        ("generated", "postgres", {"a": "x"}, {"a": "y"}),
        ("generated", "mysql", {"a": "x"}, {"a": "y"}),
        ("nulls-alike", "postgres", {"a": None, "b": 1}, {"a": "x", "b": 1}),
        ("exclusion", "postgres", {"span": _span(1, 3)}, {"span": _span(3, 5)}),
    ]
]


@pytest.mark.parametrize(("name", "alias", "first", "second"), SWAPS)
def test_two_rows_exchange_what_only_the_database_compares(
    name: str, alias: str, first: Value, second: Value
) -> None:
    """At once, or one message after the other."""
    kind = KINDS[name]
    with model_of(kind, alias) as model, stream_of_kinds(alias, model) as stream:
        before = [wire.change("thing", "a", **first), wire.change("thing", "b", **second)]
        after = [wire.change("thing", "a", **second), wire.change("thing", "b", **first)]
        apply_batch(stream, before, True)
        apply_batch(stream, after, True)
        check(stream, kind, model, [*before, *after])
        for message in before:
            apply_batch(stream, [message], True)
        check(stream, kind, model, [*before, *after, *before])
        assert not ParkedChange.objects.using(alias).exists()
