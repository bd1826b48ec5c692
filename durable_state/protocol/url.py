"""Which URLs a stream may have, and how a URL is shown."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from durable_state.errors import ConfigurationError

__all__ = ["check_url", "mask_query", "origin"]

_DEFAULT_PORTS = {"http": 80, "https": 443}


def check_url(url: str, allowed: Sequence[str] = ()) -> None:
    """Pass only an http(s) URL with a host, without user info and fragment, below one of the ``allowed`` prefixes if there are any.

    A prefix matches where scheme, host and port are the same and its path ends at a ``/`` of the URL's path.
    Raises: ConfigurationError, which says what to change.
    """
    parts = _split(url)
    if allowed and not any(_is_below(parts, _split(prefix)) for prefix in allowed):
        raise ConfigurationError(
            f"{mask_query(url)} is not below any of the allowed URLs ({', '.join(allowed)}).",
            "Add its prefix to DURABLE_STATE['ALLOWED_URLS'], or use a URL that is below one.",
        )


def origin(url: str) -> str:
    """Scheme, host and port of ``url``, the port left out where it is the scheme's own: two URLs of one server compare equal."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    port = parts.port
    return f"{parts.scheme}://{host}" + (
        f":{port}" if port and port != _DEFAULT_PORTS.get(parts.scheme) else ""
    )


def mask_query(url: str) -> str:
    """``url`` as logs may show it: no user info, the names in its query, but ``***`` for their values."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(a URL that cannot be read)"
    netloc = parts.netloc.rpartition("@")[2]
    query = "&".join(f"{name}=***" for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    return SplitResult(parts.scheme, netloc, parts.path, query, "").geturl()


def _split(url: str) -> SplitResult:
    action = "Give the stream's full URL, for example https://streams.example.org/v1/chat."
    try:
        parts = urlsplit(url)
        port_is_good = parts.port is None or parts.port > 0  # reading it may raise
    except ValueError as error:
        raise ConfigurationError(f"The stream's URL cannot be read: {error}.", action) from error
    if any(character <= " " or character in "\\\x7f" for character in url):
        raise ConfigurationError(
            "The stream's URL holds a space, a backslash or a control character.", action
        )
    shown = mask_query(url)
    if parts.scheme not in _DEFAULT_PORTS:
        raise ConfigurationError(f"{shown} is no http or https URL.", action)
    if not parts.hostname or not port_is_good:
        raise ConfigurationError(f"{shown} names no host, or no possible port.", action)
    if "@" in parts.netloc:
        raise ConfigurationError(
            f"{shown} carries a user name or password.",
            "Remove it from the URL, and let DURABLE_STATE['HEADERS'] give an Authorization header.",
        )
    if "#" in url:
        raise ConfigurationError(
            f"{shown} has a fragment, which is never sent.", "Remove the part from '#' on."
        )
    if any(
        segment in (".", "..") for segment in _decoded(parts.path).replace("\\", "/").split("/")
    ):
        raise ConfigurationError(
            f"The path of {shown} has a '.' or '..' segment.", "Write the path that is meant."
        )
    return parts


def _decoded(path: str) -> str:
    """``path`` without percent-encoding, however often it was applied."""
    while (decoded := unquote(path)) != path:
        path = decoded
    return path


def _is_below(parts: SplitResult, prefix: SplitResult) -> bool:
    if origin(parts.geturl()) != origin(prefix.geturl()):
        return False
    path = prefix.path.rstrip("/")
    return parts.path == path or parts.path.startswith(f"{path}/") or not path
