"""Which URLs are let through, and how they are shown."""

from __future__ import annotations

import pytest

from durable_state.errors import ConfigurationError
from durable_state.protocol import check_url, mask_query, origin


@pytest.mark.parametrize(
    "url", ["https://h/a", "http://127.0.0.1:4437/s/chat?token=x", "https://[::1]:8/a", "https://h"]
)
def test_good_urls(url: str) -> None:
    """No prefixes: any http(s) URL."""
    check_url(url, [])


@pytest.mark.parametrize(
    "url",
    [
        "",
        "chat",
        "ftp://h/a",
        "file:///etc/passwd",
        "//h/a",
        "https:///a",
        "https://u:p@h/a",
        "https://u@h/a",
        "https://@h/a",
        "https://h/a#b",
        "https://h/a#",
        "https://h:0/a",
        "https://h:99999/a",
        "https://h:x/a",
        "https://h/a b",
        "https://h\\@evil/a",
        "https://h/a\n",
        "https://[::1/a",
        "https://h/a/../b",
        "https://h/a/%2e%2E/b",
        "https://h/a/%252e%252e/b",
        "https://h/./b",
        "https://h/a/..%2fb",
        "https://h/a/..%5Cb",
    ],
)
def test_bad_urls(url: str) -> None:
    """Each is refused with something to do about it, and without showing a password."""
    with pytest.raises(ConfigurationError) as caught:
        check_url(url, [])
    assert caught.value.action
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "prefix", "passes"),
    [
        ("https://good.example/v1/chat", "https://good.example/v1", True),
        ("https://good.example/v1/chat", "https://good.example/v1/", True),
        ("https://good.example/v1", "https://good.example/v1/", True),
        ("https://good.example/v1?x=1", "https://good.example/v1", True),
        ("https://good.example/chat", "https://good.example", True),
        ("https://good.example:443/chat", "https://good.example", True),
        ("https://GOOD.example/chat", "https://good.example/", True),
        ("https://good.example/v10/chat", "https://good.example/v1", False),
        ("https://good.example.evil.com/v1/chat", "https://good.example", False),
        ("https://good.example:8443/v1", "https://good.example", False),
        ("http://good.example/v1", "https://good.example", False),
        ("https://evil.com/https://good.example/v1", "https://good.example/v1", False),
        ("https://good.example/V1/chat", "https://good.example/v1", False),
    ],
)
def test_prefixes(url: str, prefix: str, passes: bool) -> None:
    """Origins are compared as a whole, paths at a segment's end."""
    if passes:
        check_url(url, ["https://other.example", prefix])
    else:
        with pytest.raises(ConfigurationError, match="ALLOWED_URLS"):
            check_url(url, ["https://other.example", prefix])


def test_query_values_are_masked() -> None:
    """The names stay, so that a person sees what was sent."""
    assert mask_query("https://h/a?token=secret&offset=") == "https://h/a?token=***&offset=***"
    assert mask_query("https://u:p@h:8/a") == "https://h:8/a"
    assert "secret" not in mask_query("https://[h/?secret")


def test_origins_compare_equal_for_one_server() -> None:
    """Case, the default port and a final dot make no difference."""
    assert (
        origin("HTTPS://H.example:443/a") == origin("https://h.example./b") == "https://h.example"
    )
    assert origin("http://[::1]:80/a") == "http://[::1]"
    assert origin("http://h:8/a") == "http://h:8"
