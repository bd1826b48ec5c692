"""Entity tags: what has not changed since a client read it is not sent again."""

from __future__ import annotations

import hashlib
from typing import Any

from django.utils.cache import get_conditional_response
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from durable_state.feed import Audience, Sight
from durable_state.feed.log import stamp_of
from durable_state.models import Stream

__all__ = ["answer_if_unchanged", "entity_tag", "tagged"]


def entity_tag(request: Request, stream: Stream, sight: Sight) -> str | None:
    """Names what is seen of a type at the stream's revision, as this request asks for it.

    None where that may change without a commit: rows that a policy narrows, values that the
    mapping's own code makes, pages for people.
    """
    is_told_by_revision = not sight.narrowed and not sight.mapping.has_own_represent
    if not is_told_by_revision or request.accepted_renderer.format != "json":
        return None
    token = Audience.of(stream, [sight]).token(stream.revision, stamp_of(stream.logged_at))
    asked = hashlib.blake2b(request.get_full_path().encode(), digest_size=8).hexdigest()
    return f'W/"{token}.{asked}"'


def answer_if_unchanged(request: Request, tag: str | None) -> Any:
    """Returns 304 if the client already has this version, otherwise None."""
    return None if tag is None else get_conditional_response(request._request, etag=tag)


def tagged(request: Request, answer: Response) -> Any:
    """The answer with a tag of its content, or 304 if the client has it already.

    For what changes without a commit: it is read anyway, but not sent. Pages for people have none.
    """
    if request.accepted_renderer.format != "json":
        return answer
    content = JSONRenderer().render(answer.data)
    tag = f'W/"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'
    unchanged = answer_if_unchanged(request, tag)
    chosen: Any = answer if unchanged is None else unchanged
    chosen.headers["ETag"] = tag
    chosen.headers["Cache-Control"] = "private, no-cache"
    return chosen
