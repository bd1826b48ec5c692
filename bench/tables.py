"""The rows that a contestant left in the tables, as they would be on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Any

from .digest import Digest, digest_of
from .models import Message, Profile, Setting

__all__ = ["digest_of_tables"]


def digest_of_tables(alias: str) -> Digest:
    """The rows of the three tables in the database of that alias."""
    return digest_of(_rows(alias))


def _rows(alias: str) -> Iterator[tuple[str, str, Any]]:
    for message in Message._base_manager.using(alias).iterator():
        sent_at = message.sent_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        value = {
            "text": message.text,
            "likes": message.likes,
            "isEdited": message.edited,
            "sentAt": sent_at,
        }
        yield "message", message.key, value
    for profile in Profile._base_manager.using(alias).iterator():
        yield (
            "profile",
            profile.key,
            {"name": profile.name, "score": profile.score, "about": profile.about},
        )
    for setting in Setting._base_manager.using(alias).iterator():
        yield "setting", setting.key, setting.data
