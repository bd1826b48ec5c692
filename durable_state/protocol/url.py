"""Which URLs a stream may have, and how a URL is shown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from durable_state.errors import ConfigurationError

__all__ = ["DEFAULT_PORTS", "check_url", "mask_query", "origin"]

DEFAULT_PORTS = {"http": 80, "https": 443}
_LONGEST_LABEL = 63
_PARAMETER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")
_OTHERWISE_ENCODED = re.compile(r"%u([0-9A-Fa-f]{4})")
"""As some servers read it too."""
_BETWEEN_SEGMENTS = re.compile(r"[/\\]")
_BEHIND_A_SEGMENT = re.compile(r"[;?#]")


def check_url(url: str, allowed: Sequence[str] = ()) -> None:
    """Passes only an http(s) URL with a host, without user info and fragment,
    below one of the ``allowed`` prefixes if there are any.

    A prefix matches where scheme, host and port are the same and its path ends at a ``/`` of the
    URL's path.
    Raises: ConfigurationError, which says what to change.
    """
    parts = _split(url)
    if allowed and not any(_is_below(parts, _split(prefix)) for prefix in allowed):
        raise ConfigurationError(
            f"{mask_query(url)} is not below any of the allowed URLs ({', '.join(allowed)}).",
            "Add its prefix to DURABLE_STATE['ALLOWED_URLS'], or use a URL that is below one.",
        )
    if "//" in parts.path:  # some servers merge them, others do not
        raise ConfigurationError(
            f"The path of {mask_query(url)} has an empty segment ('//').",
            "Write the path that you mean.",
        )


def origin(url: str) -> str:
    """Scheme, host and port of ``url``, the port left out where it is the scheme's own:
    two URLs of one server compare equal.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    port = parts.port
    return f"{parts.scheme}://{host}" + (
        f":{port}" if port and port != DEFAULT_PORTS.get(parts.scheme) else ""
    )


def mask_query(url: str) -> str:
    """``url`` as anybody may see it: no user info, and of its query the names of parameters only.

    What has no ``=value`` is masked whole, because it may be a token (``?SECRET``, ``?dG9rZW4=``).
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(a URL that cannot be read)"
    if not parts.netloc and "@" in parts.path:  # such as https:/user:password@host
        return "(a URL that names no host)"
    netloc = parts.netloc.rpartition("@")[2]
    query = "&".join(map(_masked, parts.query.split("&"))) if parts.query else ""
    return SplitResult(parts.scheme, netloc, parts.path, query, "").geturl()


def _masked(parameter: str) -> str:
    name, _, value = parameter.partition("=")
    is_named = _PARAMETER_NAME.fullmatch(name) and value.strip("=")
    return f"{name}=***" if is_named else "***"


def _split(url: str) -> SplitResult:
    action = "Give the stream's full URL, for example https://streams.example.org/v1/chat."
    try:
        parts = urlsplit(url)
        port_is_good = parts.port is None or parts.port > 0  # reading it may raise
    except ValueError as error:
        # Not the error's text: it quotes what may be a password.
        raise ConfigurationError(
            "The stream's URL cannot be read: its host or port is invalid.", action
        ) from error
    if any(character <= " " or character in "\\\x7f" for character in url):
        raise ConfigurationError(
            "The stream's URL holds a space, a backslash or a control character.", action
        )
    shown = mask_query(url)
    if parts.scheme not in DEFAULT_PORTS:
        raise ConfigurationError(f"{shown} is not an HTTP or HTTPS URL.", action)
    if not parts.hostname or not port_is_good or not _has_labels(parts.hostname):
        raise ConfigurationError(f"{shown} has no host, or an impossible port.", action)
    if "@" in parts.netloc:
        raise ConfigurationError(
            f"{shown} carries a user name or password.",
            "Remove it from the URL, and let DURABLE_STATE['HEADERS'] give an Authorization "
            "header.",
        )
    if "#" in url:
        raise ConfigurationError(
            "The stream's URL has a fragment, which is never sent.",
            "Remove the part from '#' on.",
        )
    _check_path(parts.path, shown)
    return parts


def _has_labels(host: str) -> bool:
    """Whether each label of the name has a length that resolvers take; an IPv6 address has one."""
    return all(1 <= len(label) <= _LONGEST_LABEL for label in host.removesuffix(".").split("."))


def _check_path(path: str, shown: str) -> None:
    """Raises: ConfigurationError, where a server on the way may read another path than we do."""
    action = "Write the path that you mean."
    try:
        decoded = _decode(path)
    except UnicodeError as error:
        raise ConfigurationError(
            f"The path of {shown} is percent-encoded, but not as UTF-8.", action
        ) from error
    if any(map(_is_dots, _BETWEEN_SEGMENTS.split(decoded))):
        raise ConfigurationError(f"The path of {shown} has a '.' or '..' segment.", action)


def _decode(path: str) -> str:
    """``path`` without percent-encoding, however often it was applied. Raises: UnicodeError."""
    while (decoded := _decode_once(path)) != path:
        path = decoded
    return path


def _decode_once(path: str) -> str:
    decoded = unquote_to_bytes(path).decode()
    return _OTHERWISE_ENCODED.sub(lambda found: chr(int(found[1], 16)), decoded)


def _is_dots(segment: str) -> bool:
    """Whether any server takes the segment for ``.`` or ``..``.

    Some drop parameters (``..;v=1``), what follows a decoded ``?``, or spaces and control
    characters at its end; some fold wide forms of a dot into the plain one.
    """
    name = unicodedata.normalize("NFKC", _BEHIND_A_SEGMENT.split(segment)[0])
    name = "".join(each for each in name if each.isprintable() and not each.isspace())
    return bool(name) and not name.strip(".")


def _is_below(parts: SplitResult, prefix: SplitResult) -> bool:
    if origin(parts.geturl()) != origin(prefix.geturl()):
        return False
    path = prefix.path.rstrip("/")
    return parts.path == path or parts.path.startswith(f"{path}/") or not path
