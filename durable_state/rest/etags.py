"""What has not changed since a client read it is not read again."""

from __future__ import annotations

import hashlib
from typing import Any

from django.utils.cache import get_conditional_response
from rest_framework.request import Request

from durable_state.feed import Audience, Sight
from durable_state.feed.log import stamp_of
from durable_state.models import Stream

__all__ = ["answer_if_unchanged", "entity_tag"]


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
    """304 where the client has it already, else None."""
    return None if tag is None else get_conditional_response(request._request, etag=tag)
