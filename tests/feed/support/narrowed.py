"""An audience that may see only some rows."""

from __future__ import annotations

from typing import Any

from durable_state.feed import Audience, Sight
from durable_state.models import Stream
from durable_state.registry import registry

from .commits import shown

__all__ = ["popular", "seen"]


def popular(stream: Stream) -> Audience:
    """All settings, and the messages with more than ten likes."""
    messages, settings = (
        registry.find("message", stream.name),
        registry.find("setting", stream.name),
    )
    assert messages is not None
    assert settings is not None
    return Audience.of(
        stream,
        [
            Sight(messages, messages.rows(stream).filter(likes__gt=10), narrowed=True),
            Sight(settings, settings.rows(stream), narrowed=False),
        ],
    )


def seen(stream: Stream) -> dict[tuple[str, str], Any]:
    """The rows in the tables that this audience sees."""
    return {
        name: value
        for name, value in shown(stream).items()
        if name[0] == "setting" or (value["likes"] or 0) > 10
    }
