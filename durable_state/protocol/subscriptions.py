"""Subscriptions: under which addresses a server has them, and what is said in their bodies.

Spec: PROTOCOL.md 6 and 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import msgspec

from durable_state.errors import ConfigurationError

from .url import mask_query, origin

__all__ = [
    "ClaimedWake",
    "LinkedStream",
    "SubscriptionKind",
    "Wake",
    "WakeEvent",
    "keys_url",
    "path_below",
    "same_path",
    "stream_root",
    "subscription_url",
]


class SubscriptionKind(StrEnum):
    """How a subscription wakes us: by a webhook, or by a message in a stream that we follow."""

    WEBHOOK = "webhook"
    PULL_WAKE = "pull-wake"


Generation = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
WakeId = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Token = Annotated[str, msgspec.Meta(max_length=8192, pattern=r"\A[\x21-\x7e]*\Z")]


class LinkedStream(msgspec.Struct, frozen=True):
    """A stream of a subscription, by its path below the root."""

    path: str


class Wake(msgspec.Struct, frozen=True):
    """The body of a webhook request. Spec: PROTOCOL.md 7.1.

    Nothing else of the body is read. Its ``callback_url`` in particular is ignored: whoever could
    forge one would receive the next acknowledgement.
    """

    subscription_id: str
    wake_id: WakeId
    generation: Generation
    streams: list[LinkedStream]
    callback_token: Token


class WakeEvent(msgspec.Struct, frozen=True):
    """A message of a wake stream. Spec: PROTOCOL.md 7.2."""

    type: str
    subscription_id: str
    generation: Generation


class ClaimedWake(msgspec.Struct, frozen=True):
    """The answer to a successful claim of a wake. Spec: PROTOCOL.md 7.2."""

    wake_id: WakeId
    generation: Generation
    token: Token


def stream_root(url: str, roots: Sequence[str]) -> str:
    """The address below which the server has the stream and ``__ds``.

    It is the longest of the ``roots`` that the URL lies below, or else the URL without its last
    segment; it has neither a slash at its end nor a query.
    Raises: ConfigurationError, where no part of the path is left to name the stream.
    """
    parts = urlsplit(url)
    below = [root.rstrip("/") for root in roots if _is_below(parts.path, url, root)]
    if below:
        return max(below, key=len)

    parent, _, name = parts.path.rstrip("/").rpartition("/")
    if not name:
        raise ConfigurationError(
            f"{mask_query(url)} has no path, so it names no stream below a root.",
            "Give the stream's full URL.",
        )
    return urlunsplit((parts.scheme, parts.netloc, parent, "", ""))


def path_below(root: str, url: str) -> str:
    """The stream's path below the root, as its URL has it."""
    return urlsplit(url).path[len(urlsplit(root).path) :].strip("/")


def subscription_url(root: str, subscription: str, *action: str, stream: str) -> str:
    """The address of a subscription, or of one of its actions.

    It keeps the query of its ``stream``'s URL, by which some servers tell their customers apart.
    """
    segments = "/".join(quote(each, safe="") for each in ("subscriptions", subscription, *action))
    return _with_query(f"{root}/__ds/{segments}", stream)


def keys_url(root: str, *, stream: str) -> str:
    """The address of the keys that the server signs webhooks with. Spec: PROTOCOL.md 6.5."""
    return _with_query(f"{root}/__ds/jwks.json", stream)


def same_path(one: str, other: str) -> bool:
    """Whether two paths name the same stream, however they are percent-encoded."""
    return unquote(one).strip("/") == unquote(other).strip("/")


def _with_query(address: str, stream: str) -> str:
    query = urlsplit(stream).query
    return f"{address}?{query}" if query else address


def _is_below(path: str, url: str, root: str) -> bool:
    prefix = urlsplit(root)
    return origin(url) == origin(root) and path.startswith(f"{prefix.path.rstrip('/')}/")
