"""A worker that is killed after its commit and before its server is told: `python -m
tests.doorbells.support.dying_reader DATABASE_AS_JSON STREAM SETTINGS_AS_JSON`.
"""

from __future__ import annotations

import os
from typing import Any, NoReturn

from durable_state.transport import Subscriptions
from tests.consumer.support.worker import main


async def die(*args: Any) -> NoReturn:
    """Dies as by `kill -9`."""
    os._exit(9)


if __name__ == "__main__":
    Subscriptions.acknowledge = die  # type: ignore[assignment, method-assign]
    main()
