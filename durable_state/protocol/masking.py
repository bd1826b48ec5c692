"""Masks credentials in texts: those that were sent, and whatever looks like a secret."""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

from .url import mask_query

__all__ = ["MASK", "mask", "mask_likely", "secrets_in_headers", "secrets_in_url"]

MASK = "***"

SHORT = 4
"""A secret of fewer characters is masked only where it stands as a word of its own."""

_OPEN_HEADERS = frozenset(
    {
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "content-type",
        "pragma",
    }
)
"""Headers without secrets, whose values appear in our own messages (``application/json``)."""

_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)
_CREDENTIALS = re.compile(r"\b(bearer|basic|digest|negotiate)\s+[^\s,;'\"]+", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"(\w*(?:authorization|token|secret|passw(?:or)?d|api[-_]?key|signature)['\"]?\s*[:=]\s*)"
    r"(?:\"[^\"]*\"|'[^']*'|[^\s,;&]+)",
    re.IGNORECASE,
)
_RANDOM = re.compile(r"(?=[\w+/=~-]*\d)(?=[\w+/=~-]*[A-Za-z])[\w+/=~-]{20,}")


def secrets_in_headers(headers: Mapping[str, str]) -> frozenset[str]:
    """The values of the headers, and the pieces of them that authenticate by themselves."""
    return frozenset(
        piece
        for name, value in headers.items()
        if name.lower() not in _OPEN_HEADERS
        for piece in _pieces(value)
        if piece
    )


def secrets_in_url(url: str) -> frozenset[str]:
    """The values in the query of ``url``, as they stand there and decoded."""
    query = urlsplit(url).query
    written = (part.partition("=")[2] or part for part in query.split("&"))
    decoded = (value for _, value in parse_qsl(query))
    return frozenset(filter(None, [*written, *decoded]))


def mask(text: str, secrets: Iterable[str], *, cut: bool = False) -> str:
    """``text`` with ``***`` for each of the secrets, also where it is escaped or percent-encoded.

    ``cut`` says that the text was longer: a secret that begins at its end is masked too.
    """
    longest_first = sorted(secrets, key=len, reverse=True)
    folded = text.lower()
    # Few of many are in a text, and a pattern of all would take long to compile.
    found = [each for each in longest_first if any(way in folded for way in _spellings(each))]
    if found:
        text = re.sub("|".join(map(_pattern, found)), MASK, text, flags=re.IGNORECASE)
    if cut:
        for secret in longest_first:
            for length in range(len(secret) - 1, SHORT - 1, -1):
                if text.endswith(secret[:length]):
                    return text[:-length] + MASK
    return text


def mask_likely(text: str) -> str:
    """``text`` without what looks like a secret, for texts of code that handles secrets."""
    text = _URL.sub(lambda found: mask_query(found[0]), text)
    text = _CREDENTIALS.sub(rf"\1 {MASK}", text)
    text = _ASSIGNED.sub(rf"\1{MASK}", text)
    return _RANDOM.sub(MASK, text)


def _pieces(value: str) -> Iterator[str]:
    yield value.strip()
    scheme, *behind = value.split() or [""]
    yield from behind or [scheme]
    for parameter in re.split(r"[\s,;]+", value):  # of a cookie, or of a signature
        value_of_it = parameter.partition("=")[2].strip("\"'")
        yield value_of_it
        yield value_of_it.rstrip("=")  # base64 without its padding
    if scheme.lower() == "basic" and behind:
        try:
            user_and_password = base64.b64decode(behind[0], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return
        yield user_and_password
        yield user_and_password.partition(":")[2]


@lru_cache(maxsize=4096)
def _spellings(secret: str) -> tuple[str, ...]:
    """The secret as it may be escaped, in lower case."""
    spellings = (
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        html.escape(secret),
    )
    return tuple(dict.fromkeys(each.lower() for each in spellings))


def _pattern(secret: str) -> str:
    """A regular expression for the secret, however it is escaped."""
    pattern = "|".join(map(re.escape, _spellings(secret)))
    return rf"(?<!\w)(?:{pattern})(?!\w)" if len(secret) < SHORT else pattern
