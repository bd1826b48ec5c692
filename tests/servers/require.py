"""The one place where a test gives up for want of a server or a program."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

__all__ = ["skip_or_fail"]


def skip_or_fail(reason: str) -> NoReturn:
    """Skips the test with the reason; fails it where DURABLE_STATE_REQUIRE_SERVICES is set, so that CI cannot pass without it."""
    if os.environ.get("DURABLE_STATE_REQUIRE_SERVICES"):
        pytest.fail(f"DURABLE_STATE_REQUIRE_SERVICES is set, but {reason}", pytrace=False)
    pytest.skip(reason)
