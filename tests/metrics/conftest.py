"""Fixtures of the metrics' tests."""

from tests.websocket.support.fixtures import make_user

__all__ = ["make_user"]
