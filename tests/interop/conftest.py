"""Fixtures of the tests with the reference implementation."""

from tests.feed.support.fixtures import configure, fresh_layers

__all__ = ["configure", "fresh_layers"]
