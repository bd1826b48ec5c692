"""What a refusal says to the person who reads it."""

from __future__ import annotations

import pytest

from durable_state.errors import RequestRefused
from durable_state.transport.refusals import refusal, retry_after

STREAM = "https://streams.example/v1/chat"


def redirected(location: str, url: str = STREAM) -> RequestRefused:
    """The error for a redirect to that URL."""
    error = refusal(302, {"location": location}, url)
    assert isinstance(error, RequestRefused)
    return error


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "ftp://elsewhere.example/s",
        "javascript:alert(1)",
        "data:,x",
        "https://[::1/s",
        "https://elsewhere.example:x/s",
        "https://elsewhere.example\\@other/s",
        "https://else where/s",
        "https://u:passwd@other.example/x",
        "http://streams.example/v1/chat",
        "",
    ],
)
def test_no_place_is_recommended_where_no_stream_could_be_registered(location: str) -> None:
    """Neither to a URL that is not http(s), nor to one that would send the headers without
    encryption.
    """
    error = redirected(location)
    assert "durable_state edit" not in error.action
    assert error.action
    assert "passwd" not in str(error)


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        (STREAM, "https://other.example:8/x?token=passwd", "https://other.example:8/x?token=***"),
        (STREAM, "/v2/chat", "https://streams.example/v2/chat"),
        (STREAM, "/v2/chat?offset=-1&live=sse", "https://streams.example/v2/chat"),
        (STREAM, "/c?cursor=7&room=1", "https://streams.example/c?room=***"),
        ("http://streams.example/v1", "https://streams.example/v1", "https://streams.example/v1"),
        ("http://streams.example/v1", "http://other.example/v1", "http://other.example/v1"),
    ],
)
def test_the_new_url_is_recommended(url: str, location: str, target: str) -> None:
    """The whole of it, so that it does not read like a circle, without the values of its query."""
    error = redirected(location, url)
    assert error.message.endswith(f" It redirects to {target}.")
    assert error.action == (
        "If the stream has moved there, change its URL in the admin,"
        " or with manage.py durable_state edit."
    )
    assert "passwd" not in str(error)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00", 0.0),
        ("soon", None),
        ("", None),
    ],
)
def test_when_to_ask_again(value: str, seconds: float | None) -> None:
    """In seconds, or as a date, which may have passed already."""
    assert retry_after({"retry-after": value}) == seconds
