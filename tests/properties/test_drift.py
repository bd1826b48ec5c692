"""Whatever a stream sends for a column has one result, the same on every database and with every
writer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from django.db import models as django_models
from django.db import transaction
from django.db.models.fields.files import FieldFile
from hypothesis import example, given
from hypothesis import strategies as st

from durable_state import EntityMapping
from durable_state.conversion import Refused, converter
from durable_state.databases import postgresql
from durable_state.models import DeadLetter, Stream
from tests.app.models import AllFields
from tests.examples import lenient
from tests.mappings import remap
from tests.services import available
from tests.tables import apply_batch
from tests.wire import raw_change
from tests.writing import write_by_the_orm

from .support.values import KINDS, ODD, values_of

pytestmark = pytest.mark.django_db(databases="__all__")

FIELDS = [field for field in AllFields._meta.concrete_fields if field.name in KINDS]
decode = msgspec.json.Decoder(float_hook=Decimal).decode
ALIASES = ["default", *available]

DOCUMENTED = {
    "precise": "precision",
    "document": "invalid",
    "required_document": "invalid",
    "uuid": "range",
}
"""Where databases differ, by column: the code with which some of them refuse
(docs/reference/conversion.md has the details).
"""

WAYS = ["fast", "orm"]

Answer = tuple[dict[int, Any], dict[int, str]]
"""The rows' values, by key, and why changes were refused, by ordinal."""


def test_every_column_is_tried() -> None:
    """A column that is added to the model is covered."""
    assert {field.name for field in AllFields._meta.concrete_fields} - KINDS.keys() == {"id"}


@pytest.fixture(autouse=True)
def no_row_is_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes small updates take the way of large ones."""
    monkeypatch.setattr(postgresql, "FEW", 0)


def is_alike(field: Any, text: str) -> bool:
    """Whether no database refuses, for a documented reason, what another accepts."""
    if field.name not in DOCUMENTED:
        return True
    try:
        raw = decode(text.encode())
    except (msgspec.MsgspecError, ArithmeticError, RecursionError):
        return True
    codes = set()
    for alias in ALIASES:
        try:
            converter(field, alias)(raw)
            codes.add("")
        except Refused as refused:
            codes.add(refused.code)
    return codes != {"", DOCUMENTED[field.name]}


@contextmanager
def undone(alias: str) -> Iterator[Stream]:
    """A stream that is removed afterwards, with everything that it wrote."""
    with transaction.atomic(using=alias):
        yield Stream.objects.using(alias).create(name="drift", url="http://tests.invalid/drift")
        transaction.set_rollback(True, using=alias)


def plain(value: Any) -> Any:
    """A value as it was read, so that different ones differ: 1, 1.0 and True, and -0.0 and 0.0."""
    if isinstance(value, (memoryview, bytes)):
        return bytes(value)
    if isinstance(value, FieldFile):
        return value.name
    return f"{type(value).__name__} {value!r}"


def documents_alike(value: Any) -> Any:
    """A JSON document with each number as a double: PostgreSQL returns 1e16 as an integer."""
    if isinstance(value, bool):
        return repr(value)
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, list):
        return [documents_alike(part) for part in value]
    if isinstance(value, dict):
        return {name: documents_alike(part) for name, part in value.items()}
    return value


def answer(stream: Stream, field: django_models.Field[Any, Any]) -> Answer:
    """The content of the tables of a stream's database."""
    read = documents_alike if isinstance(field, django_models.JSONField) else plain
    rows = AllFields.objects.using(stream.using).order_by("pk").values_list("pk", field.attname)
    letters = DeadLetter.objects.using(stream.using).filter(stream=stream)
    return {key: read(value) for key, value in rows}, {
        each.ordinal: f"{each.key} {each.reason}" for each in letters
    }


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_each_value_has_one_result(field: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inserted and then updated by other entities' values; accepted or refused, with the same
    code and the same value read back.
    """
    remap("thing", EntityMapping, model=AllFields, key_field="id", fields=[field.name])

    @lenient(3)
    @example(ODD, "upsert")
    @given(
        st.lists(values_of(field.name), min_size=20, max_size=60),
        st.sampled_from(["insert", "update", "upsert"]),
    )
    def check(values: list[str], operation: str) -> None:
        values = [value for value in values if is_alike(field, value)]
        answers: dict[str, list[Answer]] = {}
        for alias in ALIASES:
            for name in WAYS:
                with undone(alias) as stream, monkeypatch.context() as patched:
                    if name == "orm":
                        write_by_the_orm(patched)
                    seen = answers.setdefault(f"{alias} {name}", [])
                    for turned in (values, values[1:] + values[:1]):
                        batch = [
                            raw_change("thing", str(key), f'{{"{field.name}": {value}}}', operation)
                            for key, value in enumerate(turned, 1)
                        ]
                        apply_batch(stream, batch, True)
                        seen.append(answer(stream, field))
        first, *others = answers.values()
        for name, other in zip(list(answers)[1:], others, strict=True):
            assert other == first, name
        kept, refused = first[0]
        assert len(kept) + len(refused) >= len(values)

    check()


DRIFT: list[tuple[str, str, Any]] = [
    ("char", '{"char": "x", "new": {"any": "\\u0000", "size": 1e400}}', "x"),
    ("char", "{}", None),
    ("char", '{"char": "12345678"}', "12345678"),
    ("char", '{"char": "123456789"}', "too-long"),
    ("char", '{"char": "x\\u0000"}', "nul"),
    ("char", '{"char": "\\ud800"}', "bad-json"),
    ("char", '{"char": 5}', "type"),
    ("char", "[]", "not-an-object"),
    ("integer", '{"integer": 3.0}', 3),
    ("integer", '{"integer": 1.7}', "type"),
    ("integer", '{"integer": 2147483648}', "range"),
    ("big", '{"big": 9007199254740993}', 9007199254740993),
    ("big", '{"big": 9007199254740993.0}', "precision"),
    ("big", '{"big": 9223372036854775808}', "range"),
    ("big", '{"big": "007"}', "type"),
    ("floating", '{"floating": -0.0}', 0.0),
    ("floating", '{"floating": 1e400}', "bad-value"),
    ("floating", '{"floating": 9007199254740993}', "precision"),
    ("floating", '{"floating": "NaN"}', "type"),
    ("floating", '{"floating": NaN}', "bad-json"),
    ("money", '{"money": 1.10}', Decimal("1.10")),
    ("money", '{"money": -0.0}', Decimal("0.00")),
    ("money", '{"money": 1.101}', "precision"),
    ("money", '{"money": 1e400}', "range"),
    ("money", '{"money": 1e999999999999999999999}', "bad-value"),
    ("money", '{"money": "NaN"}', "type"),
    ("moment", '{"moment": "2024-02-29T12:00:00.0000001Z"}', "precision"),
    ("moment", '{"moment": "2024-02-30T12:00:00Z"}', "invalid"),
    ("document", '{"document": {"a": 1, "a": 2}}', {"a": 2}),
    ("document", '{"document": {"a": "\\u0000"}}', "nul"),
    ("document", '{"document": 123456789012345678901234567890}', "precision"),
    ("document", '{"document": 18446744073709551615}', 18446744073709551615),
    ("document", f'{{"document": {"[" * 31}{"]" * 31}}}', json.loads("[" * 31 + "]" * 31)),
    ("document", f'{{"document": {"[" * 501}{"]" * 501}}}', "bad-json"),
    ("address", '{"address": "::ffff:1.2.3.4"}', "::ffff:1.2.3.4"),
]
"""By column: the value as sent, and the row's value or the reason of the refusal."""


@pytest.mark.usefixtures("writer")
@pytest.mark.parametrize(("column", "value", "result"), DRIFT, ids=lambda part: str(part)[:40])
def test_what_documented_drift_comes_to(using: str, column: str, value: str, result: Any) -> None:
    """As docs/reference/conversion.md says."""
    remap("thing", EntityMapping, model=AllFields, key_field="id", fields=[column])
    stream = Stream.objects.using(using).create(name="drift", url="http://tests.invalid/drift")
    apply_batch(stream, [raw_change("thing", "1", value), raw_change("thing", "2", "{}")], True)
    letter = DeadLetter.objects.using(using).filter(stream=stream).first()
    rows = dict(AllFields.objects.using(using).values_list("pk", column))
    if letter is not None:
        assert (letter.reason, rows) == (result, {2: None})
    else:
        assert rows == {1: result, 2: None}
        assert type(rows[1]) is type(result)
        assert str(rows[1]) == str(result)
