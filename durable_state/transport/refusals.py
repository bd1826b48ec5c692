"""What each HTTP status means to us, and what a person can do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin

from durable_state.errors import (
    AnswerRefused,
    ConfigurationError,
    ProtocolViolation,
    RequestRefused,
    Stalled,
    StreamClosed,
    StreamConflict,
    StreamGone,
    StreamNotFound,
    TransportError,
    Unavailable,
)
from durable_state.protocol import check_url, mask_query, origin

from .request import OWN_PARAMETERS

__all__ = ["is_true", "refusal", "retry_after", "said_once", "stalled", "too_large"]

_CREDENTIALS = (
    "Check the credentials that DURABLE_STATE['HEADERS'] gives for this stream, then resume it."
)
_REFUSED = {
    400: "Check the stream's URL and its query; if they are right, the offset stored here is not "
    "this server's: reset the stream.",
    401: _CREDENTIALS,
    403: _CREDENTIALS,
    405: "The server does not offer this for the stream.",
    413: "The request is too large for the server: send less at once, "
    "or shorten what DURABLE_STATE['HEADERS'] gives.",
    501: "The server does not offer this for the stream.",
}
_BUSY = frozenset({408, 425, 429})


def refusal(status: int, headers: Mapping[str, str], url: str, detail: str = "") -> TransportError:
    """The error for a status that is neither 200 nor another that was hoped for.

    ``headers`` has lower-case names; ``detail`` is the beginning of the answer's body, if any.
    Spec: PROTOCOL.md 5.
    """
    said = " ".join(re.sub(r"[^\x20-\x7e]+", " ", detail).split())[:200]
    what = f"{mask_query(url)} answered {status}" + (f" ({said})." if said else ".")
    if status in _BUSY or (status >= 500 and status != 501):
        return Unavailable(what, "Retrying automatically.", status, retry_after(headers))
    if 300 <= status < 400 and status != 304:  # which nothing that we send asks for
        return _redirect(status, headers, url, what)
    if status == 404:
        return StreamNotFound(
            what, "Check the URL, or wait until the stream is created. Its rows are kept.", status
        )
    if status == 410:
        return StreamGone(
            what,
            "The server no longer holds the stream from here on: reset it, or remove it.",
            status,
        )
    if status == 409:
        if is_true(headers, "stream-closed"):
            return StreamClosed(
                what, "The stream is closed for good; append to another one.", status
            )
        return StreamConflict(
            what,
            "The stream exists with another configuration, or the sequence number is not new.",
            status,
        )
    if 400 <= status < 600:
        return RequestRefused(what, _REFUSED.get(status, "Ask the server's operator why."), status)
    return ProtocolViolation(what, "Retrying automatically.", status)


def stalled(url: str, seconds: float) -> TransportError:
    """The error for an answer that goes on without bringing a message."""
    return Stalled(
        f"{mask_query(url)} has been answering for {seconds:.0f} s without a complete message.",
        "Check the stream server and the network in between. Retrying automatically.",
        seconds=seconds,
    )


def too_large(url: str, number: int, limit: int) -> TransportError:
    """The error for a message beyond the size limit; the first message has number 1."""
    return AnswerRefused(
        f"{mask_query(url)}: message number {number} is larger than MESSAGE_BYTES = {limit}.",
        "Raise DURABLE_STATE['MESSAGE_BYTES'] and restart the workers, then resume; nothing "
        "before it is lost.",
    )


def is_true(headers: Mapping[str, str], name: str) -> bool:
    """Whether a flag header is set.

    Any value but ``true`` counts as absent. Spec: PROTOCOL.md 4.1.
    """
    return said_once(headers, name).lower() == "true"


def said_once(headers: Mapping[str, str], name: str) -> str:
    """The value of a header that has one, also where something in between said the same twice.

    Different values stay as HTTP joins them: ``a, b``.
    """
    value = headers.get(name, "").strip()
    first, comma, _ = value.partition(",")
    is_repeated = comma and {each.strip() for each in value.split(",")} == {first.strip()}
    return first.strip() if is_repeated else value


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait, from either form of ``Retry-After``;
    None where there is none to read.
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter by its digits
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max((when - datetime.now(UTC)).total_seconds(), 0.0)


_MOVED = (
    "If the stream has moved there, change its URL in the admin,"
    " or with manage.py durable_state edit."
)


def _without_request(url: str) -> str:
    """The URL without the query that this request had added, which servers like to give back."""
    address, mark, query = url.partition("?")
    kept = [each for each in query.split("&") if each.partition("=")[0] not in OWN_PARAMETERS]
    return address + mark + "&".join(kept) if any(kept) else address


def _redirect(status: int, headers: Mapping[str, str], url: str, what: str) -> RequestRefused:
    """Redirects are not followed: our headers are for the registered origin, and for no other.

    Another address is recommended only where a stream could be registered, and as safely.
    """
    ask = "Ask the server's operator for the stream's URL."
    location = headers.get("location", "")
    if not location:
        return RequestRefused(what, ask, status)
    try:
        whole = urljoin(url, location)
        origin(whole)
        check_url(whole)
        # Browsers read a backslash as a slash, others do not.
        is_readable = "\\" not in location and location.isprintable()
    except (ValueError, ConfigurationError):
        is_readable = False
    if not is_readable:
        return RequestRefused(
            f"{what} It redirects to something that is not an HTTP or HTTPS URL.", ask, status
        )
    target = mask_query(_without_request(whole))
    is_less_safe = url.startswith("https:") and not target.startswith("https:")
    action = ask if is_less_safe else _MOVED
    return RequestRefused(f"{what} It redirects to {target}.", action, status)
