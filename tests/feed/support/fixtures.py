"""Fixtures for tests of the feed or of what serves it, for conftests to load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from channels.layers import channel_layers

__all__ = ["configure", "fresh_layers"]


@pytest.fixture(autouse=True)
def fresh_layers() -> Iterator[None]:
    """Resets the channel layer, and the bell's silence, after each test."""
    from durable_state.feed import bell

    yield
    channel_layers.backends.clear()
    bell._silent_until, bell._fails_since = 0.0, None


@pytest.fixture
def configure(settings: Any) -> Callable[..., None]:
    """Sets keys of DURABLE_STATE for one test."""

    def set_keys(**keys: Any) -> None:
        settings.DURABLE_STATE = getattr(settings, "DURABLE_STATE", {}) | keys

    return set_keys
