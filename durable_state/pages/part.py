"""One live part of a page: the streams that it follows, from which place, and its version.

Why: decision 73.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote, unquote

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare, salted_hmac

from durable_state.databases.clock import database_now
from durable_state.feed.log import stamp_of
from durable_state.models import Stream
from durable_state.policy import audience_of, readable_streams

__all__ = ["PART_HEADER", "Part", "parts_of", "unchanged_parts"]

PART_HEADER = "Durable-State-Part"
"""In a request: the names of the parts that are fetched again, percent-encoded, between commas.

In a response: the names of the parts that it consists of; absent if it is a whole page.
"""

EARLIER = timedelta(seconds=10)
"""How much older than the part its rows may be.

The view may have read them before the template reached the tag. What was committed within this time
counts as not shown yet: that may cost one more fetch, but nothing is missed.
"""

_LOOKED_AT = 200
"""How many commits are examined for that. A busier stream has a new one soon anyway."""


@dataclass
class Part:
    """What the page's script is told: names and places of streams, and nothing about rows."""

    name: str
    url: str
    follow: list[dict[str, Any]] = field(default_factory=list)
    """What the client subscribes to: ``stream``, ``types``, ``keys``, ``offset``."""
    version: str = ""
    """The revisions that it shows at least, signed for its user and page."""
    unreadable: int = 0
    """How many of its streams the user may not read."""
    shows_messages: bool = False
    """Whether Django's messages are shown in it."""

    @classmethod
    def of(
        cls,
        request: HttpRequest,
        name: str,
        streams: Sequence[str],
        types: Collection[str],
        keys: Sequence[str],
    ) -> Part:
        """The part as the request's user may follow it. Call it before rendering the content."""
        user = _user(request)
        url = request.get_full_path()
        part = cls(name, url)
        shown = []
        readable = readable_streams(user).filter(name__in=streams).order_by("pk")
        for stream in readable:
            revision, stamp = _surely_shown(stream)
            offset = audience_of(user, stream, types, keys).token(revision, stamp)
            part.follow.append(
                {
                    "stream": stream.name,
                    "types": sorted(types) or None,
                    "keys": list(keys) or None,
                    "offset": offset,
                }
            )
            shown.append(f"{stream.pk}-{revision}")
        part.unreadable = len(set(streams)) - len(shown)
        part.version = ".".join([_seal(user, url, shown), *shown])
        return part

    @property
    def etag(self) -> str:
        """Its share of the response's entity tag."""
        return f"{quote(self.name, safe='')}:{self.version}"


def parts_of(request: HttpRequest) -> dict[str, tuple[Part, str]]:
    """The parts rendered for a request so far, with their HTML, by name."""
    rendered: dict[str, tuple[Part, str]]
    rendered = request.__dict__.setdefault("_durable_state_parts", {})
    return rendered


def unchanged_parts(request: HttpRequest, names: Collection[str]) -> bool:
    """Whether the request's ``If-None-Match`` says that the page has these parts as they are now.

    Then the view need not run. Versions made for another user or page are not believed.
    """
    held = request.headers.get("If-None-Match", "").removeprefix("W/").strip('"')
    versions = dict(each.partition(":")[::2] for each in held.split(",") if each)
    if not names or {unquote(name) for name in versions} != set(names):
        return False

    user, url = _user(request), request.get_full_path()
    revisions: dict[int, int] = {}
    for version in versions.values():
        seal, *shown = version.split(".")
        # For another user or page, or forged to learn about streams that the user may not read.
        if not shown or not constant_time_compare(seal, _seal(user, url, shown)):
            return False
        for each in shown:
            stream, _, revision = each.partition("-")
            revisions[int(stream)] = int(revision)
    now = Stream.objects.filter(pk__in=revisions).values_list("pk", "revision")
    return dict(now) == revisions


def _user(request: HttpRequest) -> Any:
    return getattr(request, "user", None) or AnonymousUser()


def _seal(user: Any, url: str, shown: Sequence[str]) -> str:
    said = "\0".join([str(user.pk), url, *shown])
    return salted_hmac("durable_state.pages", said, algorithm="sha256").hexdigest()[:20]


def _surely_shown(stream: Stream) -> tuple[int, int]:
    """The newest revision that rows read within EARLIER show for certain, and its stamp."""
    newest = stream.feed.order_by("-revision").values_list("revision", "created_at")
    moment = database_now(stream.using) - EARLIER
    for revision, created_at in newest[:_LOOKED_AT]:
        if created_at < moment:
            return int(revision), stamp_of(created_at)
    oldest = stream.feed.order_by("revision").values_list("revision", flat=True).first()
    if oldest is None:
        return stream.revision, stamp_of(stream.logged_at)
    return max(oldest - 1, stream.revision - _LOOKED_AT), 0
