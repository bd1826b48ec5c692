"""Fixtures of the materializer's tests."""

from tests.entries import entries_equal_the_rows

__all__ = ["entries_equal_the_rows"]
