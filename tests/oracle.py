"""What the rows must be: the ten-line fold, written without any of the product's code.

``REFUSED`` and ``NO_ROW`` come from the tables of odd values below, which say by hand what each
mapping of the test app makes of a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

REFUSED: Any = object()
NO_ROW: Any = object()

Entity = tuple[str, str]
Row = dict[str, Any]

TEXTS: list[tuple[Any, Any]] = [
    ("", ""),
    ("hi", "hi"),
    ("ünï😀", "ünï😀"),
    ("x" * 20, "x" * 20),
    ("x" * 21, REFUSED),
    ("nul\0", REFUSED),
    (5, REFUSED),
    (None, REFUSED),
    ([], REFUSED),
]
NUMBERS: list[tuple[Any, Any]] = [
    (0, 0),
    (-7, -7),
    (3.0, 3),
    ("42", 42),
    (2**31 - 1, 2**31 - 1),
    (2**31, REFUSED),
    (1.7, REFUSED),
    (True, REFUSED),
    ("007", REFUSED),
    (None, None),
]
POINTS: list[tuple[Any, Any]] = [
    (0, NO_ROW),
    (1, 1),
    (5, 5),
    (-2, REFUSED),
    (3.0, 3),
    ("42", 42),
    (1.7, REFUSED),
    (None, REFUSED),
]
FLAGS: list[tuple[Any, Any]] = [
    (True, True),
    (False, False),
    ("t", REFUSED),
    (1, REFUSED),
    (None, REFUSED),
]
TEXT_KEYS: list[tuple[str, Any]] = [
    ("a", "a"),
    ("A", "A"),
    ("a ", "a "),
    ("ключ", "ключ"),
    ("k" * 40, "k" * 40),
    ("k" * 41, REFUSED),
    ("a\0", REFUSED),
]
NUMBER_KEYS: list[tuple[str, Any]] = [
    ("1", 1),
    ("2", 2),
    ("-3", -3),
    ("007", REFUSED),
    ("x", REFUSED),
    ("1.0", REFUSED),
]
DOCUMENTS: list[Any] = [
    None,
    0,
    1,
    True,
    1.5,
    "dark",
    [],
    {},
    {"a": [1, {"b": None}]},
    [True, 1],
    {"ü": "😀"},
]


def _look_up(table: list[tuple[Any, Any]], raw: Any) -> Any:
    return next(stored for wire, stored in table if type(wire) is type(raw) and wire == raw)


def _object(
    columns: dict[str, tuple[str, list[tuple[Any, Any]], Any]],
) -> Callable[[Any, bool, str], Any]:
    """A mapping by ``fields``: wire name -> (column, table of values, default).

    ``REFUSED`` as default: it has none.
    """

    def read(value: Any, partial: bool, key: str) -> Any:
        if not isinstance(value, dict):
            return REFUSED
        row = {
            column: _look_up(table, value[wire])
            for wire, (column, table, _) in columns.items()
            if wire in value
        }
        if not partial:
            row = {column: default for column, _, default in columns.values()} | row
        return REFUSED if any(stored is REFUSED for stored in row.values()) else row

    return read


_score = _object({"points": ("points", POINTS, REFUSED)})


def _read_score(value: Any, partial: bool, key: str) -> Any:
    row = _score(value, partial, key)
    if row is REFUSED:
        return REFUSED
    return NO_ROW if row["points"] is NO_ROW else row | {"label": f"#{key}"}


@dataclass(frozen=True)
class Type:
    """How the test app maps one entity type."""

    keys: list[tuple[str, Any]]
    read: Callable[[Any, bool, str], Any]
    defaults: Row = field(default_factory=dict)
    merges: bool = False


TYPES: dict[str, Type] = {
    "message": Type(
        TEXT_KEYS,
        _object(
            {
                "text": ("text", TEXTS, ""),
                "likes": ("likes", NUMBERS, None),
                "isEdited": ("edited", FLAGS, False),
            }
        ),
    ),
    "profile": Type(
        TEXT_KEYS,
        _object({"name": ("name", TEXTS, "anonymous"), "score": ("score", NUMBERS, None)}),
        {"name": "anonymous", "score": None},
        merges=True,
    ),
    "setting": Type(TEXT_KEYS, lambda value, partial, key: {"data": value}),
    "score": Type(NUMBER_KEYS, _read_score),
}


@dataclass
class Answer:
    """The shown rows, and the ordinals of the entities' dead letters."""

    rows: dict[Entity, Row] = field(default_factory=dict)
    letters: dict[Entity, int] = field(default_factory=dict)
    malformed: set[int] = field(default_factory=set)


def fold(items: Sequence[Any]) -> Answer:
    """Folds decoded JSON items one at a time, as in the design; items that are not messages are
    junk.
    """
    answer = Answer()
    state: tuple[dict[Entity, Row], dict[Entity, int]] = (answer.rows, answer.letters)
    staged: tuple[dict[Entity, Row], dict[Entity, int]] | None = None
    for ordinal, item in enumerate(items, 1):
        headers = item.get("headers") if isinstance(item, dict) else None
        headers = headers if isinstance(headers, dict) else {}
        control, operation = headers.get("control"), headers.get("operation")
        if control == "reset":
            state, staged = ({}, {}), None
        elif control == "snapshot-start":
            staged = ({}, {})
        elif control == "snapshot-end":
            state, staged = (state if staged is None else staged), None
        elif (
            operation in ("insert", "update", "upsert", "delete")
            and item.get("type")
            and isinstance(item.get("key"), str)
        ):
            _change(*(state if staged is None else staged), item, operation, ordinal)
        else:
            answer.malformed.add(ordinal)
    answer.rows, answer.letters = state
    return answer


def _change(
    rows: dict[Entity, Row], letters: dict[Entity, int], item: Any, operation: str, ordinal: int
) -> None:
    entity = item["type"], item["key"]
    mapped = TYPES.get(item["type"])
    if mapped is None:
        return
    key = _look_up(mapped.keys, item["key"])
    if operation == "delete" and key is not REFUSED:
        rows.pop(entity, None)
        letters.pop(entity, None)
        return
    partial = mapped.merges and operation == "update"
    row = (
        REFUSED
        if key is REFUSED or operation == "delete" or "value" not in item
        else mapped.read(item["value"], partial, item["key"])
    )
    if row is REFUSED:
        letters[entity] = ordinal
        return
    letters.pop(entity, None)
    if row is NO_ROW:
        rows.pop(entity, None)
    elif partial:
        rows[entity] = rows.get(entity, mapped.defaults) | row
    else:
        rows[entity] = row
