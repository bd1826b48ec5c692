"""Sending a stream again, in whatever way and however cut, writes no row that is already equal."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import connections, models, transaction
from django.test.utils import isolate_apps
from hypothesis import given
from hypothesis import strategies as st

from durable_state import EntityMapping
from durable_state.databases import postgresql
from tests.app.models import AllFields, Parcel, Stock
from tests.examples import lenient
from tests.mappings import remap
from tests.tables import apply_batch
from tests.wire import raw_change

from .support.replays import WAYS, Way, check_replays
from .support.values import KINDS, values_of

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("writer", "no_row_is_few"),
]


@pytest.fixture
def no_row_is_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes small updates take the way of large ones."""
    monkeypatch.setattr(postgresql, "FEW", 0)


@contextmanager
def undone(alias: str) -> Iterator[None]:
    """Removes afterwards what the block wrote."""
    with transaction.atomic(using=alias):
        yield
        transaction.set_rollback(True, using=alias)


cuts = st.lists(st.integers(3, 12), min_size=1, max_size=3).map(itertools.cycle)


@st.composite
def wholes(draw: st.DrawFn) -> str:
    """A value for all columns of AllFields; at most one of them is likely to be refused."""
    kinds = {name: KINDS[name] for name in KINDS}
    odd = draw(st.sampled_from([None, None, None, *kinds]))
    if odd is not None:
        kinds[odd] = values_of(odd)
    chosen = draw(st.sets(st.sampled_from(sorted(kinds)), max_size=8)) | ({odd} if odd else set())
    return "{" + ", ".join(f'"{name}": {draw(kinds[name])}' for name in sorted(chosen)) + "}"


@pytest.mark.parametrize("update_mode", ["replace", "merge"])
def test_of_every_kind_of_column(using: str, update_mode: str) -> None:
    """Numbers in other spellings, JSON, moments in other zones, refused ones: equal rows stay
    untouched.
    """
    remap(
        "thing",
        EntityMapping,
        model=AllFields,
        key_field="id",
        fields="__all__",
        update_mode=update_mode,
    )

    @lenient(8)
    @given(st.lists(wholes(), min_size=4, max_size=12), cuts, st.sampled_from(WAYS))
    def check(values: list[str], sizes: Iterator[int], way: Way) -> None:
        messages = [
            raw_change("thing", str(key), value, "upsert") for key, value in enumerate(values, 1)
        ]
        with undone(using):
            check_replays(using, messages, sizes, AllFields, ways=[way])

    check()


def test_of_columns_that_fill_themselves(using: str) -> None:
    """`auto_now`, `db_default`, a generated column,
    a callable default, and a field that stores in its own way.
    """
    remap(
        "parcel",
        EntityMapping,
        model=Parcel,
        key_field="key",
        fields=["label", "sealed", "grams", "document"],
    )
    stocks: list[dict[str, Any]] = [
        {},
        {"amount": 1},
        {"reserved": 5, "code": "u"},
        {"amount": 7, "order": 3},
    ]
    parcels = [
        '{"label": "x"}',
        '{"label": "y", "sealed": "secret", "document": {"a": [1.0, 1e16, null]}}',
        '{"label": "z", "grams": 9, "document": null}',
    ]
    messages = [
        raw_change("stock", f"s{number}", json.dumps(value)) for number, value in enumerate(stocks)
    ]
    messages += [raw_change("parcel", f"p{number}", value) for number, value in enumerate(parcels)]
    stream = check_replays(using, messages, itertools.cycle([3, 1, 2]), Stock, Parcel)
    # Proves that the watch notices a write: of one column of one row; the row's `auto_now` is still
    # left alone.
    seen = dict(Stock.objects.using(using).values_list("key", "seen"))
    apply_batch(stream, [raw_change("stock", "s0", '{"amount": 8}')], True)
    assert Stock.objects.using(using).get(key="s0").amount == 8
    assert dict(Stock.objects.using(using).values_list("key", "seen")) == seen


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("money", 0.1),
        ("money", 5),
        ("moment", "2024-02-29T12:00:00+02:00"),
        ("uuid", "12345678-1234-4234-8234-123456789abc"),
        ("integer", "5"),
        ("span", "P1D"),
        ("char", 5),
    ],
)
def test_of_defaults_that_are_written_loosely(
    using: str, monkeypatch: pytest.MonkeyPatch, name: str, default: Any
) -> None:
    """Django accepts a default of any type that its field can store."""
    remap("thing", EntityMapping, model=AllFields, key_field="id", fields=[name, "small"])
    monkeypatch.setattr(
        AllFields._meta.get_field(name), "_get_default", lambda: default, raising=False
    )
    check_replays(using, [raw_change("thing", "1", "{}")], itertools.cycle([1]), AllFields)
    assert AllFields.objects.using(using).values_list(name, flat=True).get() is not None


@pytest.mark.django_db(databases=["postgres"])
@isolate_apps("tests.app")
def test_of_arrays() -> None:
    """PostgreSQL's own, of each kind of part."""

    class Bundle(models.Model):
        key = models.CharField(max_length=40, unique=True)
        numbers = ArrayField(models.IntegerField(null=True), null=True)
        prices = ArrayField(models.DecimalField(max_digits=9, decimal_places=2), default=list)
        moments = ArrayField(models.DateTimeField(), default=list)
        names = ArrayField(ArrayField(models.CharField(max_length=9)), default=list)

        class Meta:
            app_label = "app"

    remap("bundle", EntityMapping, model=Bundle, key_field="key", fields="__all__")
    values = [
        "{}",
        (
            '{"numbers": [1, null, 3.0], "prices": [1, 2.5, "3.10"],'
            ' "names": [["a", "NULL"], ["", "{}"]]}'
        ),
        '{"numbers": null, "moments": ["2024-02-29", "2024-02-29T12:00:00+02:00"], "names": []}',
        '{"numbers": [1.7]}',
    ]
    with undone("postgres"):
        with connections["postgres"].schema_editor() as editor:
            editor.create_model(Bundle)
        messages = [raw_change("bundle", str(key), value) for key, value in enumerate(values)]
        check_replays("postgres", messages, itertools.cycle([2, 3]), Bundle)
        assert Bundle._default_manager.using("postgres").count() == 3
