"""Fixtures of the REST views' tests."""

from tests.feed.support.fixtures import configure
from tests.websocket.support.fixtures import make_user

__all__ = ["configure", "make_user"]
