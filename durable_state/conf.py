"""The settings: one dict ``DURABLE_STATE`` in the project's settings,
converted to a frozen, typed struct.

A key that is unknown or of another type is a system check error (``durable_state.E020``) and, at
run time, a ``ConfigurationError``.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from django.conf import settings as django_settings
from django.core.signals import setting_changed

from .errors import ConfigurationError

__all__ = ["Settings", "get_settings", "load"]

Positive = Annotated[int, msgspec.Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="upper"):
    """Every key of ``DURABLE_STATE``, with its default."""

    headers: str | None = None
    """Dotted path of ``headers(stream) -> dict``: the request headers of a stream.

    It is called for each request, in a thread, and may use the ORM.
    """
    policy: str = "durable_state.policy.StatePolicy"
    """Dotted path of the ``StatePolicy`` class: who may read which streams, rows and fields."""
    large_integers: Literal["text", "number"] = "text"
    """How websockets, the feed, REST and the admin show integers of 2**53 or more, which JavaScript
    rounds: as text, or as they are.
    """
    allowed_urls: list[str] = []
    """URL prefixes that streams may have. Empty: any http(s) URL."""
    metrics_token: str | None = None
    """Bearer token for scraping the metrics. None: only signed-in users who may view streams."""
    stream_roots: list[str] = []
    """URLs below which servers have their streams and their subscriptions (``__ds``).

    The longest one that contains a stream's URL applies; without one, the URL without its last
    segment.
    """
    webhook_url: Annotated[str, msgspec.Meta(pattern="^https?://")] | None = None
    """Where servers call you for streams with ``live="webhook"``: the public URL of
    ``durable_state.urls``, followed by ``doorbells/``.
    """
    webhook_bytes: Positive = 1024 * 1024
    """Bytes of the largest webhook that is accepted."""
    webhook_seconds: Positive = 300
    """How many seconds old a webhook's signature may be, or ahead, by the database's clock."""
    wake_stream: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9._/-]+$")] = "durable-state-wakes"
    """Name, below the root, of the stream in which a server announces streams with
    ``live="pull-wake"``.
    """
    doorbell_poll_seconds: Annotated[float, msgspec.Meta(gt=0)] = 3600.0
    """Seconds, give or take a quarter, after which a stream is read even if it has not rung."""
    queue: str | None = None
    """Celery queue of ``consume`` tasks. None: the project's default queue."""
    batch_rows: Positive = 50_000
    """Messages in one transaction at most; how many there are follows how long commits take."""
    batch_bytes: Positive = 8 * 1024 * 1024
    """Bytes of messages in one transaction at most
    (a single larger message makes a batch of its own).
    """
    message_bytes: Positive = 32 * 1024 * 1024
    """Bytes of the largest message that is accepted; at a larger one the stream halts."""
    lease_seconds: Annotated[float, msgspec.Meta(ge=1)] = 30.0
    """Seconds after which the lease of a worker that shows no sign of life can be taken."""
    slice_seconds: Annotated[float, msgspec.Meta(gt=0)] = 600.0
    """Seconds that one Celery ``consume`` task runs before it hands over.

    Keep it below the broker's visibility timeout.
    """
    seats: Positive | None = None
    """Seats that ``supervise`` keeps filled at most. None: as many as the streams need.

    A seat is a Celery ``consume`` task, or a ``run``. Streams are shared evenly among them.
    """
    seat_streams: Positive = 1000
    """Streams that one seat follows at most."""
    feed_keep_seconds: Positive = 3600
    """Seconds that the feed log is kept; a subscriber that was away longer gets a snapshot."""
    feed_keep_rows: Positive = 100_000
    """Commits of one stream that the feed log keeps at most, however recent they are."""
    feed_keep_bytes: Positive = 64 * 1024 * 1024
    """Bytes of one stream's entries that the feed log keeps, their transaction ids included."""
    feed_value_rows: Annotated[int, msgspec.Meta(ge=0)] = 100
    """Changed entities in one commit up to which the feed log keeps their values;
    beyond, only their keys.
    """
    feed_entry_rows: Positive = 10_000
    """Changed entities in one commit beyond which subscribers take a snapshot instead."""
    feed_poll_seconds: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    """Seconds between two reads of the feed log if no channel layer crosses processes.

    With one, it is read ten times less often, in case a bell got lost.
    """
    feed_subscribers: Positive = 1000
    """Subscriptions of one stream in one process at most; a further one is closed with 4429.

    One user (or one address, for anonymous visitors) gets at most half of what the others leave.
    """
    feed_user_subscriptions: Positive = 1000
    """How many websockets, and subscriptions of those that have several, one user (or one address,
    for anonymous visitors) may have in one process.
    """
    feed_socket_subscriptions: Positive = 100
    """Subscriptions of one websocket at most."""
    websocket_authentication: str | None = None
    """Dotted path of ``authenticate(scope) -> user or None``, for tokens in the handshake.

    Sync, in a thread, or async. If it returns None, the user is the one that Channels found. It is
    called again every few seconds.
    """
    dead_letter_limit: Positive = 1000
    """Dead letters of one stream beyond which it halts instead of writing more."""
    snapshot_open_seconds: Positive = 3600
    """Seconds that a snapshot, a rebuild or a reset may stay open
    before the stream counts as stuck.
    """
    snapshot_scope: Literal["stream", "types"] = "stream"
    """What a snapshot replaces:
    every registered type of the stream, or only the types that occur in it.
    """
    stuck_seconds: Positive = 300
    """Seconds of failing requests, or of answers that bring nothing, after which a stream counts as
    stuck."""


def load(raw: Any) -> Settings:
    """Converts the dict of the project's settings.

    Raises: ConfigurationError, naming the key and what was expected.
    """
    try:
        return msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"DURABLE_STATE: {_in_python_types(str(error))}.", _action(raw)
        ) from error


def _in_python_types(text: str) -> str:
    """Returns msgspec's message with Python's names of types instead of JSON's."""
    for name, python_type in _PYTHON_TYPES.items():
        text = text.replace(f"`{name}", f"`{python_type}").replace(f" {name}`", f" {python_type}`")
    what, _, where = text.replace("Object contains unknown field", "Unknown key").partition(
        " - at "
    )
    return f"{where.replace('`$.', '`')}: {what}" if where.startswith("`$.") else what


_PYTHON_TYPES = {"array": "list", "object": "dict", "null": "None", "number": "float"}


def _action(raw: Any) -> str:
    known = [name.upper() for name in Settings.__struct_fields__]
    if not isinstance(raw, Mapping):
        return "Write a dict: DURABLE_STATE = {}."
    unknown = [str(key) for key in raw if key not in known]
    if not unknown:
        return "Correct the value in the settings."
    close = get_close_matches(unknown[0].upper(), known, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"The keys are {', '.join(known)}."


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Returns the settings. Raises: ConfigurationError."""
    return load(getattr(django_settings, "DURABLE_STATE", {}))


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "DURABLE_STATE":
        get_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="durable_state.conf")
