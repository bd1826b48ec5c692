"""Our credentials are in no text."""

from __future__ import annotations

import base64
import time

import pytest

from durable_state.protocol.masking import (
    mask,
    mask_likely,
    secrets_in_headers,
    secrets_in_url,
)

TOKEN = "s3cr+t/T0ken&\"x'"
BASIC = base64.b64encode(b"ada:lovelace").decode()


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Authorization": f"Bearer {TOKEN}"}, f"no such token: {TOKEN}"),
        ({"Authorization": f"Bearer {TOKEN}"}, "token s3cr%2Bt%2FT0ken%26%22x%27"),
        ({"Authorization": f"Bearer {TOKEN}"}, '{"token": "s3cr+t/T0ken&\\"x\'"}'),
        ({"Authorization": f"Bearer {TOKEN}"}, "<p>s3cr+t/T0ken&amp;&quot;x&#x27;</p>"),
        ({"Authorization": f"Bearer {TOKEN}"}, TOKEN.upper()),
        ({"X-Api-Key": "0123456789"}, "unknown key 0123456789"),
        ({"X-Api-Key": "k1"}, "unknown key k1."),
        ({"Cookie": "session=abcdef; theme=dark"}, "session abcdef ended"),
        ({"Signature": 'keyId="k-77", signature="c2ln=="'}, "bad signature c2ln"),
        ({"Authorization": f"Basic {BASIC}"}, "no user ada:lovelace"),
        ({"Authorization": f"Basic {BASIC}"}, "wrong password lovelace"),
        ({"Authorization": f"Basic {BASIC}"}, f"wrong {BASIC}"),
    ],
)
def test_whatever_is_echoed_is_masked(headers: dict[str, str], said: str) -> None:
    """Whole values, the token after the scheme, a cookie's value, a password; however escaped."""
    shown = mask(said, secrets_in_headers(headers))
    assert "***" in shown
    for secret in ("s3cr", "0123456789", "k1", "abcdef", "c2ln", "lovelace", BASIC):
        assert secret not in shown.lower()


def test_a_secret_that_is_cut_off_is_masked() -> None:
    """The text may be cut in the middle of it."""
    assert mask("denied: 01234", ["0123456789"], cut=True) == "denied: ***"
    assert mask("denied: 01234", ["0123456789"]) == "denied: 01234"


def test_many_secrets_cost_little() -> None:
    """Tokens change with each request, and a process remembers many."""
    secrets = [f"{number:04d}" + "x" * 1000 for number in range(1000)]
    began = time.perf_counter()
    for _ in range(20):
        assert mask(f"denied: {secrets[500]}", secrets) == "denied: ***"
    assert time.perf_counter() - began < 2


def test_words_of_our_own_stay() -> None:
    """Headers that hold no secrets, and a short value inside another word."""
    headers = {"Accept": "application/json", "X-Version": "1"}
    said = "http://h:81/s1 is a stream of text/html, not of application/json (version 1)"
    assert mask(said, secrets_in_headers(headers)) == said.replace("version 1", "version ***")
    assert mask(said, []) == said


def test_a_querys_values_are_secrets() -> None:
    """Named or not, as written and decoded."""
    secrets = secrets_in_url("https://h/s?token=a%2Bb&SECRET")
    assert secrets == {"a%2Bb", "a+b", "SECRET"}
    assert secrets_in_url("https://h/s") == frozenset()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("KeyError: 'STREAMS_TOKEN'", "KeyError: 'STREAMS_TOKEN'"),
        ("TimeoutError: no token service", "TimeoutError: no token service"),
        ("403 for url: https://vault/v1?key=abc", "403 for url: https://vault/v1?key=***"),
        ("cannot reach https://ada:pw@vault/", "cannot reach https://vault/"),
        ("{'Authorization': 'Bearer abc'}", "{'Authorization': ***}"),
        ("sent Bearer abc, refused", "sent Bearer ***, refused"),
        ("password=abc, user=ada", "password=***, user=ada"),
        ("ACCESS_TOKEN: abc", "ACCESS_TOKEN: ***"),
        ("refused eyJhbGciOiJIUzI1NiJ9eyJzdWIi", "refused ***"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, shown: str) -> None:
    """If the text is code that handles secrets; names and sentences stay."""
    assert mask_likely(text) == shown
