"""The only way for a test to be skipped because of something that the machine lacks."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

__all__ = ["skip_or_fail"]


def skip_or_fail(reason: str) -> NoReturn:
    """Skips the test; fails it if DURABLE_STATE_REQUIRE_SERVICES=1 promises that everything is
    available.
    """
    if os.environ.get("DURABLE_STATE_REQUIRE_SERVICES") == "1":
        pytest.fail(f"DURABLE_STATE_REQUIRE_SERVICES=1, but {reason}", pytrace=False)
    pytest.skip(reason)
