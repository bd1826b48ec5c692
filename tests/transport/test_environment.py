"""An environment in which no client can be made: each request says which variable is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from durable_state.errors import ConfigurationError, Unavailable
from durable_state.transport import head, open_client
from tests.servers.misbehaving import MisbehavingServer, Reply

PROXIES = [
    ("NO_PROXY", "fd00::/8"),
    ("no_proxy", "localhost,fd00::/8,10.0.0.0/8"),
    ("HTTPS_PROXY", "http://user:secret@proxy:port"),
    ("http_proxy", "gopher://secret"),
    ("HTTP_PROXY", "http://[::1"),
    ("all_proxy", "secret:port:port"),
    ("ALL_PROXY", "socks5://secret:1080"),
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the variables that the test sets."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(("variable", "value"), PROXIES)
async def test_a_proxy_variable_that_cannot_be_read_is_named(
    misbehaving_server: MisbehavingServer,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
) -> None:
    """In one line, without its value, which may hold a password; nothing is sent around the
    proxy.
    """
    monkeypatch.setenv(variable, value)
    async with open_client() as client:
        with pytest.raises(ConfigurationError, match=rf"variable {variable} cannot") as caught:
            await head(client, misbehaving_server.url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert f"Correct or unset {variable}" in caught.value.action
    assert misbehaving_server.asked == []


@pytest.mark.parametrize("content", [None, b"", b"no certificate"], ids=repr)
async def test_a_certificate_file_concerns_https_only(
    misbehaving_server: MisbehavingServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    content: bytes | None,
) -> None:
    """The file is missing, empty or something else; streams without TLS are still read."""
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    misbehaving_server.head = Reply(200, {"Stream-Next-Offset": "a"})
    async with open_client() as client:
        assert (await head(client, misbehaving_server.url)).offset == "a"
        with pytest.raises(ConfigurationError, match="variable SSL_CERT_FILE cannot") as caught:
            await head(client, misbehaving_server.url.replace("http:", "https:"))
    assert str(path) in caught.value.message
    assert len(misbehaving_server.heads) == 1


async def test_two_faults_are_told_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one for the proxy, which affects all, comes first."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/bundle.pem")
    monkeypatch.setenv("NO_PROXY", "fd00::/8")
    async with open_client() as client:
        with pytest.raises(ConfigurationError, match="NO_PROXY"):
            await head(client, "https://127.0.0.1:9/s")


@pytest.mark.parametrize(
    ("variable", "value"), [("NO_PROXY", "::1,127.0.0.1,.example.org"), ("SSL_CERT_FILE", "")]
)
async def test_an_environment_that_can_be_used_is(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """The request is sent, and fails for another reason."""
    monkeypatch.setenv(variable, value)
    async with open_client() as client:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await head(client, "http://127.0.0.1:9/s")


async def test_a_client_that_trusts_no_environment_needs_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither the proxies nor the certificates are looked at."""
    monkeypatch.setenv("NO_PROXY", "fd00::/8")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/bundle.pem")
    async with open_client(trust_env=False) as client:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await head(client, "https://127.0.0.1:9/s")
