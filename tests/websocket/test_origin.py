"""Pages of other sites cannot open a websocket with the user's cookies."""

from __future__ import annotations

from typing import Any

import pytest

from durable_state.websocket.origin import is_own_origin

from .support.socket import Socket


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        (None, "example.com", True),
        ("https://example.com", "example.com", True),
        ("https://EXAMPLE.com", "example.com", True),
        ("http://example.com:80", "example.com", True),
        ("http://example.com:8000", "example.com:8000", True),
        ("http://www.example.com", "www.example.com", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("https://trusted.test", "example.com", True),
        ("https://a.wild.test", "example.com", True),
        ("https://evil.test", "example.com", False),
        ("http://trusted.test", "example.com", False),
        ("https://wild.test.evil", "example.com", False),
        ("https://evilwild.test", "example.com", False),
        ("http://example.com:8001", "example.com:8000", False),
        ("https://evil.test", "evil.test", False),
        ("https://example.com.evil.test", "example.com", False),
        ("null", "example.com", False),
        ("", "example.com", False),
        ("file://", "example.com", False),
        ("chrome-extension://example.com", "example.com", False),
        ("capacitor://localhost", "example.com", True),
        ("capacitor://elsewhere", "example.com", False),
        ("tauri://app.wild.test", "example.com", True),
        ("https://example.com:port", "example.com", False),
        ("https://example.com", None, False),
    ],
)
def test_whose_page_it_is(origin: str | None, host: str | None, own: bool, settings: Any) -> None:
    """Host and port must be the request's own and allowed, or the origin trusted; without an
    origin it is not a browser.
    """
    settings.ALLOWED_HOSTS = [".example.com", "[::1]"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://trusted.test", "https://*.wild.test"]
    settings.CSRF_TRUSTED_ORIGINS += ["capacitor://localhost", "tauri://*.wild.test"]
    headers = [(b"host", host.encode())] if host is not None else []
    headers += [(b"origin", origin.encode())] if origin is not None else []
    assert is_own_origin(headers) is own


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"host": "inner:8000", "x-forwarded-host": "example.com"}, True),
        ({"host": "inner:8000", "x-forwarded-host": "other.test"}, False),
        ({"host": "example.com"}, True),
        ({"host": "inner", "x-forwarded-host": "example.com:81"}, False),
        ({"host": "inner", "x-forwarded-host": "example.com", "x-forwarded-port": "81"}, False),
        ({"host": "inner", "x-forwarded-host": "example.com", "x-forwarded-port": "443"}, True),
        ({"host": "inner", "x-forwarded-host": "example.com", "x-forwarded-port": "x"}, False),
    ],
)
def test_behind_a_proxy(headers: dict[str, str], own: bool, settings: Any) -> None:
    """The proxy reports the host and port that the browser asked for, if Django is configured to
    trust it; otherwise the proxy's headers mean nothing.
    """
    settings.ALLOWED_HOSTS = ["example.com"]
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    sent.append((b"origin", b"https://example.com"))
    settings.USE_X_FORWARDED_HOST = settings.USE_X_FORWARDED_PORT = True
    assert is_own_origin(sent) is own
    settings.USE_X_FORWARDED_HOST = settings.USE_X_FORWARDED_PORT = False
    assert is_own_origin(sent) is (headers["host"] == "example.com")


def test_two_origins_are_none_of_ours(settings: Any) -> None:
    """Nobody gets in by sending a second header."""
    settings.ALLOWED_HOSTS = ["example.com"]
    origins = [(b"origin", b"https://example.com"), (b"origin", b"https://evil.test")]
    assert not is_own_origin([(b"host", b"example.com"), *origins])


@pytest.mark.django_db(transaction=True)
async def test_a_foreign_page_is_refused_in_the_handshake(as_user: Any) -> None:
    """It never sees an open socket."""
    headers = [(b"host", b"testserver"), (b"origin", b"https://evil.test")]
    socket = Socket(as_user(None), "/ws/state/chat/", headers)
    assert await socket.connect() == 4403
    await socket.disconnect()
