"""The one way for a test to be skipped for something that the machine lacks."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

__all__ = ["skip_or_fail"]


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test; fail it where DURABLE_STATE_REQUIRE_SERVICES=1 promises
    that everything is there.
    """
    if os.environ.get("DURABLE_STATE_REQUIRE_SERVICES") == "1":
        pytest.fail(f"DURABLE_STATE_REQUIRE_SERVICES=1, but {reason}", pytrace=False)
    pytest.skip(reason)
