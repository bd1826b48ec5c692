"""Finds the environment variable that prevents an HTTP client from being made."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass

import httpx

from durable_state.errors import ConfigurationError

__all__ = ["EnvironmentFault", "find_fault"]

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_CERTIFICATES = "SSL_CERT_FILE"


@dataclass(frozen=True, slots=True)
class EnvironmentFault:
    """A variable that cannot be used, why, and whether it affects only requests over TLS."""

    variable: str
    reason: str
    only_tls: bool

    async def refuse(self, request: httpx.Request) -> None:
        """Refuses a request that the variable affects. Raises: ConfigurationError."""
        if not self.only_tls or request.url.scheme == "https":
            raise self.refusal()

    def refusal(self) -> ConfigurationError:
        """The error of a request that the variable affects."""
        return ConfigurationError(
            f"The environment variable {self.variable} cannot be used: {self.reason}.",
            f"Correct or unset {self.variable}, start the worker again, then resume.",
        )


def find_fault(error: Exception, *, besides: str = "") -> EnvironmentFault:
    """The variable that made ``httpx.AsyncClient`` raise ``error``; never the variable ``besides``.

    The value of a proxy variable is never shown, because it may hold a password.
    """
    if besides != _CERTIFICATES and (path := os.environ.get(_CERTIFICATES)):
        try:
            _trust_nothing().load_verify_locations(cafile=path)
        except (OSError, ValueError) as fault:
            return EnvironmentFault(_CERTIFICATES, f"{path}: {_describe(fault)}", only_tls=True)

    for name in _PROXIES:
        if variable := _variable(name):
            url = os.environ[variable]
            try:
                transport = httpx.Proxy(url if "://" in url else f"http://{url}")
                httpx.AsyncHTTPTransport(proxy=transport, verify=_trust_nothing())
            except ImportError:
                return EnvironmentFault(
                    variable, "a SOCKS proxy needs the package httpx[socks]", only_tls=False
                )
            except Exception as fault:  # whatever httpx makes of a text that is no URL
                reason = f"it is not a proxy URL ({type(fault).__name__})"
                return EnvironmentFault(variable, reason, only_tls=False)

    variable = _variable("no_proxy") or "NO_PROXY"
    return EnvironmentFault(variable, _describe(error), only_tls=False)


def _variable(name: str) -> str | None:
    """The variable that applies: in small letters before capitals, as urllib reads them."""
    return next((each for each in (name, name.upper()) if os.environ.get(each)), None)


def _describe(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split()).rstrip(".")


def _trust_nothing() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
