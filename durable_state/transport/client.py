"""Makes HTTP clients, and sends requests, whose failures it turns into errors of this app."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.request import getproxies

import httpx

from durable_state.errors import (
    ConfigurationError,
    DurableStateError,
    ProtocolViolation,
    RequestRefused,
    Silent,
    Stalled,
    Unavailable,
)
from durable_state.protocol import mask_query
from durable_state.protocol.masking import mask, secrets_in_headers, secrets_in_url

from .body import ACCEPTED_CODINGS, read_beginning
from .connections import Connections
from .environment import EnvironmentFault, find_fault
from .sent_secrets import mask_error, remember

__all__ = ["AskHeaders", "exchange", "open_client", "said"]


AskHeaders = Callable[[], Awaitable[Mapping[str, str]]]
"""Returns the headers of one request; called for each request, because tokens expire."""

_CONNECT = 10.0
_SLOWEST_UPLOAD = 16 * 1024
"""The slowest upload, in bytes per second: how much longer an answer to a large body may take."""

_NEVER_SENT = frozenset({"accept-encoding", "if-none-match", "if-modified-since", "range"})
"""With these, servers would leave out part of the answer, or code it in a way that is not read."""
_SAID = 512
"""How much of a refusal's body is read, in bytes."""
_SAID_SECONDS = 5.0
"""How long to wait for it, in seconds."""
_SECRETS = "durable_state.secrets"
"""The answer's extension with the secrets that must be masked where its server is quoted."""
_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy")


class _NoCookies(httpx.Cookies):
    """Keeps and sends no cookies; httpx would search each answer for some."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Ignores the answer's cookies."""

    def set_cookie_header(self, request: httpx.Request) -> None:
        """Adds no cookies."""


class _Client(httpx.AsyncClient):
    """An HTTP client without cookies."""

    @property  # type: ignore[misc]
    def cookies(self) -> httpx.Cookies:
        """None, and nobody can set any."""
        return _NO_COOKIES


_NO_COOKIES = _NoCookies()


def open_client(**options: Any) -> httpx.AsyncClient:
    """A client for any number of streams; make it and close it inside one event loop.

    Follows no redirect and keeps no cookies, so that nothing meant for one origin or stream reaches
    another. The environment's proxies and certificates (``HTTPS_PROXY``, ``NO_PROXY``,
    ``SSL_CERT_FILE``) count, as in any httpx client; ``trust_env=False`` turns them off. If one of
    them cannot be used, each request that it affects raises ConfigurationError, which names it.
    ``options`` are passed on to ``httpx.AsyncClient``.
    """
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_mask_own_requests)
    chosen: dict[str, Any] = {
        "headers": {"user-agent": f"django-durable-state/{_version()}"},
        "timeout": httpx.Timeout(60.0, connect=_CONNECT),
        # Behind a proxy, httpx pools the connections; their number is not limited there either.
        "limits": httpx.Limits(
            max_connections=None, max_keepalive_connections=100, keepalive_expiry=30.0
        ),
    } | options
    trusts = chosen.get("trust_env", True)
    if "transport" not in chosen and not (trusts and getproxies()):
        chosen["transport"] = Connections(trust_env=trusts)
    try:
        return _Client(follow_redirects=False, **chosen)
    except (httpx.InvalidURL, ImportError, OSError, ValueError) as error:
        if not trusts:
            raise
        return _without_faulty(find_fault(error), chosen)


def _without_faulty(fault: EnvironmentFault, chosen: dict[str, Any]) -> httpx.AsyncClient:
    """A client whose requests raise ConfigurationError if the fault affects them."""
    chosen = chosen | {
        "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # trusts nobody
        "event_hooks": {"request": [fault.refuse]},
    }
    if fault.only_tls:
        try:
            return _Client(follow_redirects=False, **chosen)
        except (httpx.InvalidURL, ImportError, OSError, ValueError) as error:
            return _without_faulty(find_fault(error, besides=fault.variable), chosen)
    return _Client(follow_redirects=False, **chosen | {"trust_env": False})


@asynccontextmanager
async def exchange(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    own: Mapping[str, str],
    *,
    headers: AskHeaders | None = None,
    content: bytes | None = None,
    stream: str = "",
    silence: float = 60.0,
    head_silence: float | None = None,
) -> AsyncIterator[httpx.Response]:
    """Sends one request and yields the answer, with its body unread.

    ``stream`` is the stream's own URL, for messages; ``silence`` is the longest wait for any byte,
    in seconds, and ``head_silence`` the longest before the end of the answer's head. No error that
    is raised here, or in the caller's block, quotes what was sent.
    Raises: TransportError or ConfigurationError, even while the body is read.
    """
    given = {
        name: value
        for name, value in (await headers() if headers else {}).items()
        if name.lower() not in _NEVER_SENT
    }
    secrets = secrets_in_headers(given)
    remember(secrets)
    try:
        with _named(stream or url, silence):
            request = client.build_request(
                method,
                url,
                headers={**given, **own, "accept-encoding": ACCEPTED_CODINGS},
                content=content,
                timeout=httpx.Timeout(
                    silence,
                    connect=min(_CONNECT, silence),
                    read=silence if head_silence is None else head_silence,
                    pool=None,
                ),
            )
            secrets |= secrets_in_url(stream or url)
            patience = silence + min(_CONNECT, silence) + len(content or b"") / _SLOWEST_UPLOAD
            token = _own_secrets.set(secrets)
            try:
                response = await _read_head(client, request, patience, stream or url)
            finally:
                _own_secrets.reset(token)
            response.extensions[_SECRETS] = secrets
            # httpcore reads it again when the body begins.
            request.extensions["timeout"]["read"] = silence
            try:
                yield response
            finally:
                await response.aclose()
    except DurableStateError as error:
        mask_error(error)
        raise


async def _read_head(
    client: httpx.AsyncClient, request: httpx.Request, patience: float, url: str
) -> httpx.Response:
    """Sends the request and reads the answer's head, both within ``patience`` seconds.

    Raises: Stalled, which names ``url``.
    """
    try:
        async with asyncio.timeout(patience):
            return await client.send(request, stream=True, follow_redirects=False)
    except TimeoutError as error:
        raise Stalled(
            f"{mask_query(url)} did not finish the head of its answer in {patience:.3g} s.",
            "Retrying automatically.",
            seconds=patience,
        ) from error


async def said(response: httpx.Response) -> str:
    """The beginning of a refusal's body, to be quoted, with what was sent to the server masked."""
    if response.status_code in (200, 204):
        return ""
    beginning = await read_beginning(response, _SAID, _SAID_SECONDS)
    secrets = response.extensions.get(_SECRETS, ())
    # If it was long or slow, it may end in the middle of a secret.
    return mask(beginning.decode(errors="replace"), secrets, cut=True)


@contextmanager
def _named(url: str, silence: float) -> Iterator[None]:
    shown, again = mask_query(url), "Retrying automatically."
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise Unavailable(f"{shown} accepted no connection in time.", again) from error
    except httpx.ReadTimeout as error:
        raise Silent(f"{shown} was silent for {silence:g} s.", again) from error
    except httpx.TimeoutException as error:
        raise Unavailable(f"{shown} was silent for {silence:g} s.", again) from error
    except (httpx.RemoteProtocolError, httpx.DecodingError) as error:
        raise ProtocolViolation(f"{shown} broke off its answer: {_cause(error)}.", again) from error
    except (httpx.LocalProtocolError, UnicodeEncodeError) as error:
        action = "Check the headers that DURABLE_STATE['HEADERS'] gives for this stream."
        # Not `from error`: its text quotes the header.
        raise RequestRefused(
            f"The request to {shown} cannot be sent: {type(error).__name__}.", action
        ) from None
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, UnicodeError) as error:
        # UnicodeError: a host that is no name in IDNA.
        raise ConfigurationError(
            f"The URL {shown} cannot be requested: {_cause(error)}.", "Correct the stream's URL."
        ) from error
    except httpx.HTTPError as error:
        raise Unavailable(
            f"{shown} cannot be reached: {_cause(error)}.", f"{_advice(error)}{again}"
        ) from error


def _cause(error: BaseException) -> str:
    """The root cause of the error, in the most telling words."""
    root = _root(error)
    if isinstance(root, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {root.verify_message.rstrip('.')}"
    if isinstance(root, ConnectionRefusedError):
        return "the connection was refused"
    return str(error).rstrip(".") or type(error).__name__


def _advice(error: BaseException) -> str:
    """What a person can do besides waiting, followed by a space; may be empty."""
    root = _root(error)
    if isinstance(root, ssl.SSLCertVerificationError):
        return (
            "Renew or correct the server's certificate; where an authority of your own has signed "
            "it, name that in SSL_CERT_FILE and restart the workers. "
        )
    if isinstance(root, ssl.SSLError):
        return "Check that the server speaks TLS at this port. "
    return ""


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _version() -> str:
    try:
        return version("django-durable-state")
    except PackageNotFoundError:  # the sources are used without being installed
        return "0"


_own_secrets: ContextVar[frozenset[str] | None] = ContextVar("own_secrets", default=None)


def _mask_own_requests(record: logging.LogRecord) -> bool:
    """httpx logs whole URLs at INFO, and httpcore the answer's headers at DEBUG.

    A query of ours may hold a token, and a server may echo our headers.
    """
    secrets = _own_secrets.get()
    if secrets is not None:
        if isinstance(record.args, tuple):
            record.args = tuple(
                mask_query(str(arg)) if isinstance(arg, httpx.URL) else arg for arg in record.args
            )
        record.msg, record.args = mask(record.getMessage(), secrets), None
    return True
