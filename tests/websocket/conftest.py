"""Fixtures of the websocket's tests."""

from tests.feed.support.fixtures import configure, fresh_layers

from .support.fixtures import as_user, make_user

__all__ = ["as_user", "configure", "fresh_layers", "make_user"]
