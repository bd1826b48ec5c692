"""What has not changed since a client read it is not read again."""

from __future__ import annotations

import hashlib
from typing import Any

from django.utils.cache import get_conditional_response
from rest_framework.request import Request

from durable_state.feed import Audience

__all__ = ["answer_if_unchanged", "entity_tag"]


def entity_tag(request: Request, audience: Audience, revision: int) -> str | None:
    """Names what an audience sees at a revision, as this request asks for it.

    None where that may change without a commit: rows that a policy narrows, values that the
    mapping's own code makes, pages for people.
    """
    sights = audience.sights.values()
    is_told_by_revision = not any(
        sight.narrowed or sight.mapping.has_own_represent for sight in sights
    )
    if not is_told_by_revision or request.accepted_renderer.format != "json":
        return None
    asked = hashlib.blake2b(request.get_full_path().encode(), digest_size=8).hexdigest()
    return f'W/"{audience.token(revision)}.{asked}"'


def answer_if_unchanged(request: Request, tag: str | None) -> Any:
    """304 where the client has it already, else None."""
    return None if tag is None else get_conditional_response(request._request, etag=tag)
