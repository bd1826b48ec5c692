"""Which URLs are accepted, and how they are shown."""

from __future__ import annotations

import pytest

from durable_state.errors import ConfigurationError
from durable_state.protocol import check_url, mask_query, origin


@pytest.mark.parametrize(
    "url",
    [
        "https://h/a",
        "http://127.0.0.1:4437/s/chat?token=x",
        "https://[::1]:8/a",
        "https://h",
        "https://h.example./a",
    ],
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
        "https://h..example/a",
        f"https://{'h' * 64}.example/a",
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
        "https://h/a/..;/b",
        "https://h/a/..;v=1/b",
        "https://h/a/.;/b",
        "https://h/a/%2e%2e%3b/b",
        "https://h/a/%2e%2e;x=%2f/b",
        "https://h/a/..%3Fb",
        "https://h/a/..%23/b",
        "https://h/a/..%00/b",
        "https://h/a/..%20/b",
        "https://h/a/..%0d%0a/b",
        "https://h/a/%EF%BC%8E%EF%BC%8E/b",
        "https://h/a/%C0%AE%C0%AE/b",
        "https://h/a/%25c0%25ae/b",
        "https://h/a/.../b",
        "https://h/a/%u002e%U002e/%u002E./b",
        "https://h/a/%25u002e./b",
        "https://h/a/%uD800/b",
        "https://h/a/..%E2%80%8B/b",
        "https://h/a//b",
        "https://h//a",
        "https:/u:p@h/a",
        "https:u:p@h/a",
        "https://u:p/w@h/a",
        "https://u:p#w@h/a",
    ],
)
def test_bad_urls(url: str) -> None:
    """Each is refused with advice, and without showing a password."""
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
        ("https://good.example/v1/a..b", "https://good.example/v1", True),
        ("https://good.example/v1/..a;v=1", "https://good.example/v1", True),
        ("https://good.example/v1/caf%C3%A9", "https://good.example/v1", True),
        ("https://good.example/v1/https%3A%2F%2Fother", "https://good.example/v1", True),
    ],
)
def test_prefixes(url: str, prefix: str, passes: bool) -> None:
    """Origins are compared as a whole, paths only at a segment's end."""
    if passes:
        check_url(url, ["https://other.example", prefix])
    else:
        with pytest.raises(ConfigurationError, match="ALLOWED_URLS"):
            check_url(url, ["https://other.example", prefix])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/a?token=secret&live=", "https://h/a?token=***&***"),
        ("https://h/a?token=secret=", "https://h/a?token=***"),
        ("https://h/a?secret", "https://h/a?***"),
        ("https://h/a?c2VjcmV0==&secret;a=1", "https://h/a?***&***"),
        ("https://h/a?sec%72et&a=secret", "https://h/a?***&a=***"),
        ("https://h/a?", "https://h/a"),
        ("https://u:p@h:8/a", "https://h:8/a"),
        ("https:/u:secret@h/a", "(a URL that names no host)"),
        ("https://[h/?secret", "(a URL that cannot be read)"),
        ("https://h/a#secret", "https://h/a"),
    ],
)
def test_query_values_are_masked(url: str, shown: str) -> None:
    """The names of parameters stay, so that a person sees what was sent; possible tokens go."""
    assert mask_query(url) == shown


def test_origins_compare_equal_for_one_server() -> None:
    """Case, the default port and a final dot make no difference."""
    assert (
        origin("HTTPS://H.example:443/a") == origin("https://h.example./b") == "https://h.example"
    )
    assert origin("http://[::1]:80/a") == "http://[::1]"
    assert origin("http://h:8/a") == "http://h:8"
