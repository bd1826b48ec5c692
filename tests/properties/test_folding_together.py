"""Folding the entities of a batch together gives the same as folding each alone, whatever their
neighbours are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_state import EntityMapping
from durable_state.conversion import Refused
from durable_state.materializer.batch import plain as bulk
from durable_state.materializer.batch.compaction import EntityChanges, fold_entities, fold_entity
from durable_state.materializer.batch.plain import prepare_together, unpack_together
from durable_state.materializer.batch.preparation import Prepared, from_bytes, to_bytes
from durable_state.materializer.plan import StreamPlan, TypePlan
from durable_state.models import Stream
from durable_state.protocol import Change, decode
from tests.app import models
from tests.examples import lenient
from tests.mappings import remap
from tests.wire import raw_change

from .support.values import KINDS, ODD, PLAIN, values_of

pytestmark = pytest.mark.django_db(databases="__all__")

Staged = tuple[str, int, bytes, bytes]
"""Key, ordinal, the prepared values, the change."""
Wire = dict[str, tuple[list[str], st.SearchStrategy[str]]]
"""For each wire name, valid values, and any values."""


def _fields(*names: str) -> Wire:
    return {name: _field(name) for name in names}


def _field(name: str) -> tuple[list[str], st.SearchStrategy[str]]:
    return PLAIN[name], values_of(name)


_text, _integer, _flag = _field("char"), _field("integer"), _field("boolean")
_parent = ['"a"', '"7"', "7"], st.sampled_from(["null", '""', "3.0", "true", *ODD])
CASES: dict[str, tuple[dict[str, Any], Wire]] = {
    "every kind": (
        {"model": models.AllFields, "key_field": "id", "fields": "__all__"},
        _fields(*KINDS),
    ),
    "without decimals": (
        {
            "model": models.AllFields,
            "key_field": "id",
            "fields": [name for name in KINDS if name not in ("money", "precise")],
        },
        _fields(*(name for name in KINDS if name not in ("money", "precise"))),
    ),
    "plain ones": (
        {
            "model": models.AllFields,
            "key_field": "slug",
            "fields": {"char": "a", "integer": "b", "boolean": "c", "text": 'd"e'},
        },
        {"a": _text, "b": _integer, "c": _flag, 'd"e': _text},
    ),
    "one wire name for two": (
        {"model": models.AllFields, "key_field": "char", "fields": {"integer": "n", "big": "n"}},
        {"n": _field("big")},
    ),
    "merged": (
        {
            "model": models.AllFields,
            "key_field": "text",
            "fields": ["integer", "document", "money"],
            "update_mode": "merge",
        },
        _fields("integer", "document", "money"),
    ),
    "merged, not null": (
        {
            "model": models.Employee,
            "key_field": "key",
            "fields": ["email", "name", "grade", "boss"],
            "update_mode": "merge",
        },
        {"email": _text, "name": _text, "grade": _integer, "boss": _parent},
    ),
    "not null": (
        {
            "model": models.Message,
            "key_field": "key",
            "fields": {"text": "text", "likes": "likes", "edited": "isEdited"},
        },
        {"text": _text, "likes": _integer, "isEdited": _flag},
    ),
    "defaults of the database": (
        {
            "model": models.Stock,
            "key_field": "key",
            "fields": ["amount", "reserved", "code", "order"],
        },
        {"amount": _integer, "reserved": _integer, "code": _text, "order": _integer},
    ),
    "fields with their own ways": (
        {
            "model": models.Parcel,
            "key_field": "key",
            "fields": ["label", "sealed", "grams", "document", "picture"],
        },
        {
            "label": _text,
            "sealed": _text,
            "grams": _integer,
            "document": _field("document"),
            "picture": _text,
        },
    ),
    "a mapped parent": (
        {
            "model": models.Commit,
            "key_field": "key",
            "fields": ["author", "subject", "authored_at"],
        },
        {"author": _parent, "subject": _text, "authored_at": _field("moment")},
    ),
    "a parent of the application's": (
        {"model": models.Ticket, "key_field": "id", "fields": ["priority", "group"]},
        {"priority": _integer, "group": _text},
    ),
    "a prepare of its own": (
        {
            "model": models.Score,
            "key_field": "number",
            "fields": ["points", "label"],
            "prepare": lambda self, change: (
                None
                if change.value == {"points": 0, "label": "x"}
                else EntityMapping.prepare(self, change)
            ),
        },
        {"points": _integer, "label": _text},
    ),
    **{
        f"whole values in {name}": (
            {"model": models.AllFields, "key_field": "integer", "value_field": name},
            {"": _field(name)},
        )
        for name in (
            "document",
            "required_document",
            "char",
            "integer",
            "boolean",
            "floating",
            "precise",
            "moment",
        )
    },
    "keys alone": ({"model": models.Author, "key_field": "key", "fields": []}, {}),
}
_KEYS = [
    "1",
    "2",
    "-3",
    "007",
    "a",
    "A ",
    "ключ",
    "x\0",
    "k" * 8,
    "k" * 9,
    "k" * 700,
    "k" * 2501,
    "é" * 630,
    "é" * 1251,
    "1.0",
]
_UNKNOWN = [
    "1",
    "null",
    "1e400",
    "9" * 5000,
    '{"a": {"a": "\\u0000"}}',
    "[" * 40 + "]" * 40,
    "1e999999999999999999999",
]


@st.composite
def _values(draw: st.DrawFn, wire: Wire, oddness: int) -> str | None:
    """A value for all the columns; one in ``oddness`` parts of it is odd."""

    def odd() -> bool:
        return draw(st.integers(1, oddness)) == oddness

    if odd() and odd():
        return draw(st.none() | st.sampled_from(ODD))
    parts = {
        name: draw(anything if odd() else st.sampled_from(plain))
        for name, (plain, anything) in wire.items()
    }
    if list(wire) == [""]:
        return parts[""]
    names = list(parts)
    if odd():
        names = draw(st.permutations(names))[: draw(st.integers(0, len(names)))]
    members = [f"{json.dumps(name)}: {parts[name]}" for name in names]
    if odd():
        members.insert(0, f'"unknown": {draw(st.sampled_from(_UNKNOWN))}')
    if odd() and names:
        members.insert(0, f"{json.dumps(names[0])}: {draw(st.sampled_from(ODD))}")
    return "{" + ", ".join(members) + "}"


@st.composite
def _streams(draw: st.DrawFn, wire: Wire) -> list[bytes]:
    """Changes of a few entities, mostly of one kind and plain, so that many of them can be
    decoded together.
    """
    oddness = draw(st.sampled_from([2, 30, 100]))
    often = draw(st.sampled_from([["insert"], ["insert", "upsert", "update", "delete"]]))
    return [
        raw_change(
            "thing",
            draw(
                st.integers(1, 40).map(str)
                if draw(st.integers(1, oddness)) < oddness
                else st.sampled_from(_KEYS)
            ),
            draw(_values(wire, oddness)),
            draw(st.sampled_from(often)),
        )
        for _ in range(draw(st.integers(1, 20)))
    ]


def _entities(messages: list[bytes], absent: bool) -> list[EntityChanges]:
    found: dict[str, EntityChanges] = {}
    for ordinal, message in enumerate(map(decode, messages), 1):
        if not isinstance(message, Change):
            continue
        if message.key in found:
            found[message.key].add(ordinal, message)
        else:
            found[message.key] = EntityChanges(
                message.key, ordinal, message, refused={}, absent=absent
            )
    return list(found.values())


def _facts(entity: EntityChanges) -> dict[str, Any]:
    """The complete result for an entity, with the types of the values."""
    facts = {
        name: repr(getattr(entity, name))
        for name in ("put", "deleted", "decided_at", "no_row", "absent")
    }
    facts["refused"] = repr(
        {
            ordinal: (refusal.code, refusal.detail)
            for ordinal, refusal in (entity.refused or {}).items()
        }
    )
    letter = entity.letter
    facts["letter"] = repr(
        None if letter is None else (letter.ordinal, letter.refusal.code, letter.refusal.detail)
    )
    return facts


def _plan(using: str) -> TypePlan:
    stream = Stream(name="together", pk=1)
    stream._state.db = using
    plan = StreamPlan(stream).find("thing")
    assert plan is not None
    return plan


def _staged(plan: TypePlan, entities: list[EntityChanges]) -> list[Staged]:
    puts = [entity.put for entity in entities if entity.put is not None]
    return [(put.key, put.ordinal, to_bytes(plan, put), put.body) for put in puts]


def _unpacked_together(plan: TypePlan, staged: list[Staged]) -> Sequence[Prepared | None]:
    keys, ordinals, documents, bodies = zip(*staged, strict=True) if staged else ([], [], [], [])
    return unpack_together(plan, keys, ordinals, documents, bodies)


def _unpacked(plan: TypePlan, staged: Staged) -> Prepared | None:
    try:
        return from_bytes(plan, *staged)
    except Refused:
        return None


def _read(plan: TypePlan, prepared: Prepared | None) -> tuple[str, str] | None:
    """The complete result, with the types of the values; staged values as a JSON reader has
    them, which makes 0.0 of 1e-400.
    """
    if prepared is None:
        return None
    staged = json.loads(to_bytes(plan, prepared))
    return repr(msgspec.structs.replace(prepared, raw=())), repr(staged)


@pytest.mark.parametrize("chunks", [(1,), (3, 1), (64, 3)])
@pytest.mark.parametrize("case", CASES)
def test_together_as_alone(
    using: str, case: str, chunks: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values with their types, what is left out and what defaults give, refusals word for word."""
    attributes, wire = CASES[case]
    remap("thing", EntityMapping, **attributes)
    monkeypatch.setattr(bulk, "CHUNKS", chunks)
    plan = _plan(using)

    @lenient(25)
    @given(_streams(wire), st.booleans())
    def check(messages: list[bytes], absent: bool) -> None:
        together, alone = _entities(messages, absent), _entities(messages, absent)
        fold_entities(plan, together)
        for entity in alone:
            fold_entity(plan, entity)
        assert [_facts(entity) for entity in together] == [_facts(entity) for entity in alone]
        staged = _staged(plan, alone)
        for one, unpacked in zip(staged, _unpacked_together(plan, staged), strict=True):
            assert unpacked is None or _read(plan, unpacked) == _read(plan, _unpacked(plan, one))

    check()


@pytest.mark.parametrize("number", [1, 1000])
def test_plain_values_need_no_second_way(using: str, number: int) -> None:
    """Values that match their columns are decoded together, both as received and as staged."""
    attributes, wire = CASES["every kind"]
    remap("thing", EntityMapping, **attributes)
    plan = _plan(using)
    value = (
        "{"
        + ", ".join(f"{json.dumps(name)}: {plain[0]}" for name, (plain, _) in wire.items())
        + "}"
    )
    entities = _entities(
        [raw_change("thing", str(key), value, "insert") for key in range(1, number + 1)],
        absent=False,
    )
    changes = [entity.newest for entity in entities]
    assert None not in prepare_together(plan, range(1, number + 1), changes)
    fold_entities(plan, entities)
    assert None not in _unpacked_together(plan, _staged(plan, entities))
