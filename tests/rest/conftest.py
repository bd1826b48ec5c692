"""Fixtures of the REST views' tests."""

from tests.feed.conftest import configure  # noqa: F401  (fixtures)
from tests.websocket.conftest import make_user  # noqa: F401
