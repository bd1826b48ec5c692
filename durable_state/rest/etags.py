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
    """The tag for a type at the stream's revision, as this request asks for it.

    None if the answer may change without a commit: if a policy narrows the rows, or the mapping's
    own code makes the values; and for browsable pages.
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
    """The answer, tagged by its content, or 304 if the client already has it.

    For what changes without a commit: it is still read, but not sent again. Browsable pages get no
    tag.
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
