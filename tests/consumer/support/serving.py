"""A server that holds random items, and serves them well or badly."""

from __future__ import annotations

import json
from typing import Any

from tests.servers.misbehaving import Asked, Reply, StreamReplies

from .remote import random_groups, random_items

__all__ = ["ITEMS", "good", "quiet"]

ITEMS = random_items(11, 80)


def good(items: list[Any] = ITEMS, **options: Any) -> StreamReplies:
    """A server that holds the items."""
    groups = [
        [json.dumps(item).encode() for item in group] for group in random_groups(items, 1, 25)
    ]
    return StreamReplies(groups, **options)


def quiet(asked: Asked, replies: StreamReplies) -> Reply:
    """Answers live requests with nothing, for as long as the client stays."""
    reply = replies(asked)
    if "live" in asked.query:
        return Reply(200, reply.headers, framing="chunked", silent=True)
    return reply
