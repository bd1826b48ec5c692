"""Errors when TLS fails: the reason, and what a person can do."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from durable_state.errors import ConfigurationError, Unavailable
from durable_state.transport import open_client, probe

from .support.certificates import write_certificate

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@asynccontextmanager
async def serving(certificate: Path | None) -> AsyncIterator[int]:
    """The port of a server that has the certificate, or does not speak TLS."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


RENEW = "Renew or correct the server's certificate"
FAULTS = {
    "expired": ("localhost", -DAY, True, "certificate has expired", RENEW),
    "other host": ("other.example", DAY, True, "not valid for 'localhost'", RENEW),
    "unknown": ("localhost", DAY, False, "self-signed certificate", RENEW),
    "plain": (None, DAY, False, "WRONG_VERSION_NUMBER", "speaks TLS at this port"),
}


@pytest.mark.parametrize(
    ("host", "until", "trusted", "reason", "action"), FAULTS.values(), ids=list(FAULTS)
)
async def test_why_tls_fails(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str | None,
    until: timedelta,
    trusted: bool,
    reason: str,
    action: str,
) -> None:
    """Others may fix it, so it is retried."""
    certificate = host and write_certificate(tmp_path, host, NOW + until)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with serving(certificate or None) as port, open_client() as client:
        with pytest.raises(Unavailable) as caught:
            await probe(client, f"https://localhost:{port}/s", seconds=5)
    assert reason in caught.value.message
    assert action in caught.value.action
    assert caught.value.action.endswith("Retrying automatically.")


async def test_nobody_listens(client: httpx.AsyncClient) -> None:
    """At an address of either family."""
    for host in ("127.0.0.1", "[::1]"):
        with pytest.raises(Unavailable, match="cannot be reached: the connection was refused"):
            await probe(client, f"http://{host}:9/s", seconds=5)


async def test_a_host_that_is_no_name(client: httpx.AsyncClient) -> None:
    """By the rules for names in other scripts."""
    with pytest.raises(ConfigurationError, match="cannot be requested"):
        await probe(client, "http://xn--zzzzz-.example/s", seconds=5)
    with pytest.raises(Unavailable, match="label empty"):  # check_url refuses it before
        await probe(client, "http://a..b/s", seconds=5)
