"""Random streams: every operation, odd values and keys, junk, unregistered types, controls."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.oracle import DOCUMENTS, FLAGS, NUMBERS, POINTS, TEXTS, TYPES
from tests.wire import END, RESET, START

__all__ = ["batches", "controls", "cut_anywhere", "items"]


def _wire(table: list[tuple[Any, Any]]) -> st.SearchStrategy[Any]:
    return st.sampled_from([wire for wire, _ in table])


_OBJECTS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "message": {
        "text": _wire(TEXTS),
        "likes": _wire(NUMBERS),
        "isEdited": _wire(FLAGS),
        "unknown": st.just(1),
    },
    "profile": {"name": _wire(TEXTS), "score": _wire(NUMBERS)},
    "score": {"points": _wire(POINTS)},
}
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    name: st.fixed_dictionaries({}, optional=fields) | st.sampled_from([None, 5, [], "text"])
    for name, fields in _OBJECTS.items()
} | {"setting": st.sampled_from(DOCUMENTS)}


@st.composite
def _changes(draw: st.DrawFn) -> dict[str, Any]:
    entity_type = draw(st.sampled_from(sorted(TYPES)))
    operation = draw(st.sampled_from(["insert", "update", "update", "upsert", "delete"]))
    change: dict[str, Any] = {
        "type": entity_type,
        "key": draw(_wire(TYPES[entity_type].keys)),
        "headers": {
            "operation": operation,
            **draw(
                st.sampled_from(
                    [{}, {"txid": "t1"}, {"txid": "nul\0"}, {"from": "x", "offset": "9_9"}]
                )
            ),
        },
    }
    if operation != "delete" and draw(st.integers(0, 19)):
        change["value"] = draw(_VALUES[entity_type])
    return change


controls = st.sampled_from([START, END, RESET])
_CONTROLS = controls.map(lambda each: {"headers": each["headers"] | {"offset": "1_1"}})
_JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [
        5,
        None,
        [],
        [1, [2]],
        "text",
        {},
        {"headers": {}},
        {"headers": 7},
        {"type": "message", "headers": {"operation": "insert"}},
        {"type": "message", "key": 5, "value": {}, "headers": {"operation": "insert"}},
        {"type": "message", "key": "a", "value": {}, "headers": {"operation": "replace"}},
        {"headers": {"control": "unheard-of"}},
    ]
)
_GHOSTS = st.fixed_dictionaries(
    {
        "type": st.just("ghost"),
        "key": st.sampled_from("xy"),
        "value": st.just({}),
        "headers": st.just({"operation": "insert"}),
    }
)

items = st.lists(
    st.one_of(
        _changes(), _changes(), _changes(), _changes(), _changes(), _CONTROLS, _JUNK, _GHOSTS
    ),
    max_size=40,
)
"""Decoded items of one stream."""


@st.composite
def cut_anywhere(
    draw: st.DrawFn, messages: st.SearchStrategy[list[Any]]
) -> list[tuple[list[Any], bool]]:
    """The messages in batches, each with whether it reaches the tail."""
    left, cut = draw(messages), []
    while left:
        size = draw(st.integers(1, len(left)))
        cut.append((left[:size], draw(st.booleans())))
        left = left[size:]
    return cut


@st.composite
def batches(draw: st.DrawFn) -> list[tuple[list[Any], bool]]:
    """The items of one stream in batches; the tail is reached at the end, if not before."""
    cut = draw(cut_anywhere(items))
    return [*cut[:-1], (cut[-1][0] if cut else [], True)]
