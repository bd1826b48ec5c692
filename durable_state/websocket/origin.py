"""Refuses pages of other sites: browsers send their cookies with a websocket whoever opens it."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.http.request import validate_host

from durable_state.protocol.url import DEFAULT_PORTS

__all__ = ["is_own_origin"]

LOCAL = [".localhost", "127.0.0.1", "[::1]"]


def is_own_origin(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a handshake with these headers comes from this site, or from no browser at all.

    A page is this site's when its host and port are those that the request was made to (as
    USE_X_FORWARDED_HOST and USE_X_FORWARDED_PORT say) and the host is one of ALLOWED_HOSTS, or when
    its origin, of whatever scheme, is in CSRF_TRUSTED_ORIGINS. Safe by itself, also where the
    project forgot the ``AllowedHostsOriginValidator``.
    """
    sent = [(name.lower(), value.decode("latin-1").lower()) for name, value in headers]
    origins = [value for name, value in sent if name == b"origin"]
    if not origins:
        return True
    if len(origins) > 1:
        return False
    try:
        parts = urlsplit(origins[0])
        return _is_same_host(parts, sent) or _is_trusted(origins[0], parts)
    except ValueError:
        return False


def _is_same_host(origin: SplitResult, sent: list[tuple[bytes, str]]) -> bool:
    if origin.scheme not in DEFAULT_PORTS or not origin.hostname:
        return False
    hosts = [value for name, value in sent if name == b"host"]
    if settings.USE_X_FORWARDED_HOST:
        hosts = [value for name, value in sent if name == b"x-forwarded-host"] or hosts
    ports = [value for name, value in sent if name == b"x-forwarded-port"]
    if len(hosts) != 1:
        return False

    own = urlsplit(f"{origin.scheme}://{hosts[0]}")
    default = DEFAULT_PORTS[origin.scheme]
    port = own.port
    if port is None and settings.USE_X_FORWARDED_PORT and len(ports) == 1:
        port = int(ports[0])
    same = (own.hostname, port or default) == (origin.hostname, origin.port or default)
    return same and _is_allowed(origin.hostname)


def _is_allowed(host: str) -> bool:
    allowed = settings.ALLOWED_HOSTS or (LOCAL if settings.DEBUG else [])
    return validate_host(f"[{host}]" if ":" in host else host, allowed)


def _is_trusted(origin: str, parts: SplitResult) -> bool:
    for trusted in settings.CSRF_TRUSTED_ORIGINS:
        known = urlsplit(trusted.lower())
        if origin == trusted.lower() or (
            known.netloc.startswith("*.")
            and known.scheme == parts.scheme
            and parts.netloc.endswith(known.netloc[1:])
        ):
            return True
    return False
