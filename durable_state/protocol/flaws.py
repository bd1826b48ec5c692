"""Explains what is wrong with a malformed item, so that its origin can be found."""

from __future__ import annotations

import json
from typing import Any

from .messages import ControlKind, Malformed, Operation, txid_text

__all__ = ["explain", "txid_of"]

_UNREADABLE = "The message is not JSON, or is nested too deeply to be read."
_HALF = "The message holds half a character (a lone surrogate), which cannot be stored."

_LONGEST = 60
"""Characters of what was sent that are quoted."""


def explain(item: Malformed) -> str:
    """One sentence on what the item is, or what it lacks."""
    try:
        found = json.loads(item.raw)
        has_half_a_character = not _is_whole(found)
    except (ValueError, RecursionError):
        return _UNREADABLE
    if item.reason == "bad-json":
        return _HALF if has_half_a_character else _UNREADABLE
    if not isinstance(found, dict):
        return f"The message is {_shown(found)}, not an object."
    headers = found.get("headers")
    if item.reason in ("no-type", "no-key"):
        return _missing(found, item.reason.removeprefix("no-"), "a text")
    if not isinstance(headers, dict):
        return _missing(found, "headers", "an object")
    if item.reason == "unknown-control":
        return (
            f"The control {_cut(json.dumps(headers.get('control')))} is not {_listed(ControlKind)}."
        )
    if item.reason == "unknown-operation":
        operation = _cut(json.dumps(headers.get("operation")))
        return f"The operation {operation} is not {_listed(Operation)}."
    if item.reason == "bad-headers":
        return "The headers cannot be read."
    return "The headers name neither an operation nor a control."


def txid_of(item: Malformed) -> str:
    """The transaction that the item belongs to, which its writer may wait for;
    "" where it names none.
    """
    if b"txid" not in item.raw:
        return ""
    try:
        txid = txid_text(json.loads(item.raw)["headers"]["txid"]) or ""
        txid.encode()  # half a character is none
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""
    return txid


def _is_whole(found: Any) -> bool:
    """Whether no text in it holds half a character. Raises: RecursionError."""
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _missing(found: dict[str, Any], name: str, wanted: str) -> str:
    if name not in found:
        return f"The message has no `{name}`."
    value = found[name]
    return f"`{name}` is {'empty' if value == '' else f'{_shown(value)}, not {wanted}'}."


def _shown(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {_cut(json.dumps(value))}"
        case str():
            return f"the text {_cut(json.dumps(value))}"
        case list():
            return "a list"
        case _:
            return "an object"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _listed(names: type[ControlKind] | type[Operation]) -> str:
    *first, last = (str(each) for each in names)
    return f"{', '.join(first)} or {last}"
