"""Where a server has its subscriptions, and which parts of their bodies are read."""

from __future__ import annotations

import json

import msgspec
import pytest

from durable_state.errors import ConfigurationError
from durable_state.protocol.subscriptions import (
    Wake,
    keys_url,
    path_below,
    same_path,
    stream_root,
    subscription_url,
)


@pytest.mark.parametrize(
    ("url", "roots", "root", "path"),
    [
        ("https://a.example/v1/stream/chat", [], "https://a.example/v1/stream", "chat"),
        ("https://a.example/chat", [], "https://a.example", "chat"),
        ("https://a.example:444/v1/c%20d/", [], "https://a.example:444/v1", "c%20d"),
        ("https://a.example/v1/stream/a/b", ["https://a.example/v1/stream"], None, "a/b"),
        ("https://a.example/v1/stream/a/b", ["https://a.example/v1/stream/"], None, "a/b"),
        (
            "https://a.example/v1/stream/a/b",
            ["https://a.example/v1", "https://a.example:443/v1/stream/", "https://b.example/v1"],
            "https://a.example:443/v1/stream",
            "a/b",
        ),
        # On another server, or only the beginning of a segment.
        ("https://a.example/v1/s/b", ["https://b.example/v1"], "https://a.example/v1/s", "b"),
        ("https://a.example/v1/s/b", ["http://a.example/v1"], "https://a.example/v1/s", "b"),
        ("https://a.example/v10/s/b", ["https://a.example/v1"], "https://a.example/v10/s", "b"),
    ],
)
def test_the_root_is_configured_or_one_above(
    url: str, roots: list[str], root: str | None, path: str
) -> None:
    """The longest configured one counts."""
    expected = root or roots[0].rstrip("/")
    assert stream_root(url, roots) == expected
    assert path_below(expected, url) == path


def test_a_url_without_a_path_has_no_root() -> None:
    """And that is said."""
    with pytest.raises(ConfigurationError):
        stream_root("https://a.example/", [])


def test_addresses_are_below_the_root() -> None:
    """With the stream's own query, and no part of the name can leave its segment."""
    root, stream = "https://a.example/v1", "https://a.example/v1/s?tenant=7"
    assert keys_url(root, stream=stream) == "https://a.example/v1/__ds/jwks.json?tenant=7"
    assert (
        subscription_url(root, "a/../b", "streams", "x y", stream=root)
        == "https://a.example/v1/__ds/subscriptions/a%2F..%2Fb/streams/x%20y"
    )


def test_paths_are_compared_as_they_are_meant() -> None:
    """A server may decode what a URL has encoded."""
    assert same_path("a%20b/c", "/a b/c")
    assert not same_path("a", "ab")


WAKE = {
    "subscription_id": "s",
    "wake_id": "w",
    "generation": 7,
    "streams": [{"path": "a", "tail_offset": "1"}],
    "callback_url": "https://evil.example/",
    "callback_token": "t",
}


def test_an_address_in_a_wake_is_not_read() -> None:
    """We do not know any server to ask."""
    wake = msgspec.json.decode(json.dumps(WAKE), type=Wake)
    assert "evil" not in repr(wake)


@pytest.mark.parametrize(
    "spoiled",
    [
        {"generation": -1},
        {"generation": 2**63},
        {"generation": "7"},
        {"generation": True},
        {"wake_id": ""},
        {"wake_id": "w" * 201},
        {"callback_token": "a\r\nhost: evil"},
        {"callback_token": "t" * 8193},
        {"streams": None},
        {"subscription_id": None},
    ],
    ids=lambda spoiled: repr(spoiled)[:30],
)
def test_a_spoiled_wake_is_refused(spoiled: dict[str, object]) -> None:
    """Values that would not fit their column, or a header, are rejected here."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(WAKE | spoiled), type=Wake)
