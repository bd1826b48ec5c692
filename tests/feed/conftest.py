"""Fixtures of the feed's tests."""

from .support.fixtures import configure, fresh_layers

__all__ = ["configure", "fresh_layers"]
