"""Whatever a stream sends for a column has one result, the same on every database and by every writer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from django.db import models as django_models
from django.db import transaction
from django.db.models.fields.files import FieldFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable_state import EntityMapping
from durable_state.materializer import writers
from durable_state.materializer.conversion import Refused, converter
from durable_state.models import DeadLetter, Stream
from tests.app.models import AllFields
from tests.materializer.streams import remap
from tests.services import available

from .tables import apply_batch
from .wire import KINDS, change, values_of

pytestmark = pytest.mark.django_db(databases="__all__")

FIELDS = [field for field in AllFields._meta.concrete_fields if field.name in KINDS]
decode = msgspec.json.Decoder(float_hook=Decimal).decode
ALIASES = ["default", *available]

DOCUMENTED = {"precise": "precision", "document": "invalid", "required_document": "invalid", "uuid": "range"}
"""Where databases differ, by column: the code of a refusal by some of them (docs/reference/conversion.md says which and of what)."""

Answer = tuple[dict[int, Any], dict[int, str]]
"""What the rows hold, by key, and why changes were refused, by ordinal."""


def test_every_column_is_tried() -> None:
    """A column that is added to the model is drawn for."""
    assert {field.name for field in AllFields._meta.concrete_fields} - KINDS.keys() == {"id"}


@pytest.fixture(autouse=True)
def no_row_is_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small updates take the way of large ones."""
    monkeypatch.setattr(writers.postgresql, "FEW", 0)


def is_alike(field: Any, text: str) -> bool:
    """Whether no database refuses for a documented reason what another takes."""
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
    """A stream that is gone again afterwards, with all that it wrote."""
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
    """A JSON document with each number as a double: PostgreSQL gives 1e16 back as an integer."""
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
    """What the tables of a stream's database say."""
    read = documents_alike if isinstance(field, django_models.JSONField) else plain
    rows = AllFields.objects.using(stream._state.db).order_by("pk").values_list("pk", field.attname)
    letters = DeadLetter.objects.using(stream._state.db).filter(stream=stream)
    return {key: read(value) for key, value in rows}, {each.ordinal: f"{each.key} {each.reason}" for each in letters}


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_each_value_has_one_result(field: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inserted and then updated by other entities' values; taken or refused, with the same code and the same value read back."""
    remap(monkeypatch, "thing", EntityMapping, model=AllFields, key_field="id", fields=[field.name])
    fast = writers.FAST_WRITERS

    @settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(values_of(field.name), min_size=20, max_size=60), st.sampled_from(["insert", "update", "upsert"]))
    def check(values: list[str], operation: str) -> None:
        values = [value for value in values if is_alike(field, value)]
        answers: dict[str, list[Answer]] = {}
        for alias in ALIASES:
            for way in (fast, {}):
                monkeypatch.setattr(writers, "FAST_WRITERS", way)
                with undone(alias) as stream:
                    seen = answers.setdefault(f"{alias} {'fast' if way else 'orm'}", [])
                    for turned in (values, values[1:] + values[:1]):
                        batch = [
                            change("thing", str(key), f'{{"{field.name}": {value}}}', operation)
                            for key, value in enumerate(turned, 1)
                        ]
                        apply_batch(stream, batch, True)
                        seen.append(answer(stream, field))
        first, *others = answers.values()
        for way, other in zip(list(answers)[1:], others, strict=True):
            assert other == first, way
        kept, refused = first[0]
        assert len(kept) + len(refused) >= len(values)

    check()
