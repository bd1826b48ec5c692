"""Refuses pages of other sites: browsers send their cookies with a websocket whoever opens it."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import validate_host

__all__ = ["is_own_origin"]

LOCAL = [".localhost", "127.0.0.1", "[::1]"]


def is_own_origin(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a handshake with these headers comes from this site, or from no browser at all.

    A page is this site's when its host and port are the ``Host`` header's and the host is one of
    ALLOWED_HOSTS, or when its origin is in CSRF_TRUSTED_ORIGINS. Safe by itself, also where the
    project forgot the ``AllowedHostsOriginValidator``.
    """
    sent = [(name.lower(), value.decode("latin-1")) for name, value in headers]
    origins = [value for name, value in sent if name == b"origin"]
    if not origins:
        return True
    origin = origins[0].lower()
    if len(origins) > 1:
        return False
    try:
        parts = urlsplit(origin)
        own = [
            urlsplit(f"{parts.scheme}://{value.lower()}") for name, value in sent if name == b"host"
        ]
        same = len(own) == 1 and _place(parts.scheme, own[0].hostname, own[0].port) == _place(
            parts.scheme, parts.hostname, parts.port
        )
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    return (same and _allowed(parts.hostname)) or _trusted(origin, parts.scheme, parts.netloc)


def _place(scheme: str, host: str | None, port: int | None) -> tuple[str, int]:
    return host or "", port or (443 if scheme == "https" else 80)


def _allowed(host: str) -> bool:
    allowed = settings.ALLOWED_HOSTS or (LOCAL if settings.DEBUG else [])
    return validate_host(f"[{host}]" if ":" in host else host, allowed)


def _trusted(origin: str, scheme: str, netloc: str) -> bool:
    for trusted in settings.CSRF_TRUSTED_ORIGINS:
        known = urlsplit(trusted.lower())
        if origin == trusted.lower() or (
            known.netloc.startswith("*.")
            and known.scheme == scheme
            and netloc.endswith(known.netloc[1:])
        ):
            return True
    return False
