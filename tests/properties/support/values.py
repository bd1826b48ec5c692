"""Values as they may occur in a stream, byte for byte: whatever JSON allows, however odd, and
some that it does not.
"""

from __future__ import annotations

import json

from hypothesis import strategies as st

__all__ = ["KINDS", "ODD", "PLAIN", "values_of"]

ODD: list[str] = [
    "null",
    "true",
    "0",
    "-0",
    "-0.0",
    "3.0",
    "1.7",
    "1e16",
    "9007199254740993",
    "9007199254740993.0",
    "2147483648",
    "9223372036854775808",
    "18446744073709551616",
    "123456789012345678901234567890",
    "9" * 5000,
    "0." + "1" * 400,
    "1e-7",
    "1e-400",
    "1e308",
    "1e400",
    "-1e400",
    "1e999999999999999999999",
    "0e999999999999999999999",
    '""',
    '" "',
    '"007"',
    '"42"',
    '"NaN"',
    '"Infinity"',
    '"1e5"',
    '"x\\u0000y"',
    '"\\ud83d\\ude00"',
    '"\U0001f600 \u00e9\u200f"',
    '"' + "long " * 60 + '"',
    "[]",
    "{}",
    '{"a": 1, "a": 2}',
    '{"a": {"b": [1.0, true, null, "\\u0000"]}}',
    "[" * 30 + "]" * 30,
    "[" * 600 + "]" * 600,
    # Not JSON, or not readable by msgspec.
    '"\\ud800"',
    "NaN",
    "Infinity",
    "01",
    "1.",
]
"""Drift of every kind, whatever the column."""

_dumped = json.dumps


def _texts(*more: str) -> st.SearchStrategy[str]:
    plain = st.text(max_size=9) | st.text(
        st.sampled_from("aA \u00e9\u0130\U0001f600\n\\'\"%"), max_size=9
    )
    ascii_only: st.SearchStrategy[bool] = st.booleans()
    return st.builds(
        lambda text, escaped: _dumped(text, ensure_ascii=escaped), plain, ascii_only
    ) | st.sampled_from([_dumped(text) for text in more] or ['"x"'])


def _written(integers: st.SearchStrategy[int], places: int) -> st.SearchStrategy[str]:
    """Numbers with digits after the point, including trailing zeros, as number and as text."""
    return st.builds(
        lambda whole, digits, quoted: f'"{whole}{digits}"' if quoted else f"{whole}{digits}",
        integers,
        st.just("")
        | st.text("0123456789", min_size=1, max_size=places).map(lambda digits: f".{digits}"),
        st.booleans(),
    )


def _integers(bits: int) -> st.SearchStrategy[str]:
    edges = st.sampled_from([sign * 2**bits + by for sign in (-1, 1) for by in (-2, -1, 0, 1)])
    return st.builds(
        lambda number, form: form % number,
        st.integers(-(2**bits), 2**bits) | edges,
        st.sampled_from(["%s", "%s", '"%s"', "%s.0", "%se0"]),
    )


_documents = st.recursive(
    st.sampled_from([odd for odd in ODD[:-5] if len(odd) < 500])
    | _texts()
    | st.floats(allow_nan=False).map(repr),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
        | st.lists(st.tuples(_texts("a", "b"), inner), max_size=3).map(
            lambda parts: "{" + ", ".join(f"{name}: {value}" for name, value in parts) + "}"
        )
    ),
    max_leaves=6,
).map(lambda document: document.replace("inf", "1e400"))
_quoted = {
    "moment": [
        "2024-02-29T12:34:56.789012Z",
        "2024-02-29T12:34:56.7890120Z",
        "2024-02-29T12:34:56.7890121Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59.999999Z",
        "1900-01-01T00:00:00+05:53",
        "2024-07-01 10:00",
        "2024-07-01",
        "2024-02-30T00:00:00Z",
        "2024-07-01T24:00:00Z",
        "2024-07-01T10:00:60Z",
    ],
    "day": [
        "2024-02-29",
        "2023-02-29",
        "0001-01-01",
        "9999-12-31",
        "2024-7-1",
        "2024-07-01T00:00:00Z",
    ],
    "time": [
        "12:34",
        "12:34:56.5",
        "12:34:56.123456",
        "12:34:56.1234567",
        "23:59:59.999999",
        "24:00",
        "12:34Z",
    ],
    "span": [
        "P1DT2H3.5S",
        "3 04:05:06.7",
        "-PT0.000001S",
        "P1Y",
        "P999999999D",
        "P106751991DT4H0M54.775807S",
        "PT1.0000001S",
    ],
    "uuid": [
        "12345678-1234-4234-8234-123456789abc",
        "12345678123442348234123456789ABC",
        "12345678-1234-4234-8234",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    ],
    "blob": ["AAECAw==", "AAECAw", "////", "", "AAECAx==", "not base64"],
    "address": [
        "1.2.3.4",
        "::ffff:1.2.3.4",
        "2001:DB8::1",
        "::1",
        "fe80::1%eth0",
        "1.2.3.4/8",
        "01.2.3.4",
    ],
    "slug": ["a-b_c", "\u00e9", "123456789"],
    "path": ["a/b", "..", "/x" * 5],
    "upload": ["a/b.txt", "x" * 12, "x" * 13],
}
_document_odds = _documents | st.sampled_from(
    ["[" * 31 + "1" + "]" * 31, '{"a": 1e16}', "1e23", "100000000000000000000"]
)

KINDS: dict[str, st.SearchStrategy[str]] = {
    "small": _integers(15),
    "integer": _integers(31),
    "big": _integers(63),
    "positive_small": _integers(15),
    "positive": _integers(31),
    "positive_big": _integers(63),
    "boolean": st.sampled_from(["true", "false", "1", '"true"']),
    "floating": st.floats(allow_nan=False).map(lambda number: repr(number).replace("inf", "1e400"))
    | _integers(53),
    "money": _written(st.integers(-(10**10), 10**10), 3),
    "precise": _written(st.integers(-(10**4), 10**4), 10),
    "char": _texts("x" * 8, "x" * 9, "\u00e9" * 8, "\U0001f600" * 8, "a ", "A"),
    "text": _texts("x" * 300, "\r\n", "a "),
    "document": _document_odds,
    "required_document": _document_odds,
    **{name: st.sampled_from([_dumped(text) for text in texts]) for name, texts in _quoted.items()},
}
"""For each column of AllFields, values that it accepts, or nearly."""


PLAIN: dict[str, list[str]] = {
    "boolean": ["true", "false"],
    "floating": ["0.5", "-0.0", "3", "1e20"],
    "money": ["1.10", "5", '"2.5"'],
    "precise": ["1.10", "5", '"2.5"'],
    "char": ['"x"', '""', '"\u00e9"'],
    "text": ['"x"', '""', '"\u00e9"', '"' + "long " * 99 + '"'],
    "document": [
        "null",
        "1",
        "1.0",
        '{"a": [1, "x", {"b": null}]}',
        "[[[[[[[[1]]]]]]]]",
        "1e20",
        "18446744073709551615",
    ],
    **{name: [f'"{texts[0]}"'] for name, texts in _quoted.items()},
}
PLAIN["required_document"] = PLAIN["document"]
PLAIN |= {name: ["0", "1", "300", "-0"] for name in KINDS.keys() - PLAIN.keys()}
"""For each column of AllFields, values that it certainly accepts."""


def values_of(name: str) -> st.SearchStrategy[str]:
    """JSON texts for a column: mostly ones that it may accept, and some that no column does."""
    return KINDS[name] | KINDS[name] | KINDS[name] | st.sampled_from(ODD)
